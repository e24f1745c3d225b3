"""Sequences of proteins from FASTA and CSV files: one record per complex, with one or several chains."""

from __future__ import annotations

import csv
import difflib
import gzip
import re
import string
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from .protein_atoms import RESIDUE_ATOMS, UNKNOWN

FASTA_SUFFIXES = (".fasta", ".fa", ".faa")
SUFFIXES = tuple(suffix + packed for suffix in (*FASTA_SUFFIXES, ".csv") for packed in ("", ".gz"))
COLUMNS = (("name", "sequence"), ("name", "heavy", "light"))
MAX_LENGTH = 2000  #: residues of a chain, unless another limit is given
MAX_NAME = 60  #: letters of a name: room for an ending in the 255 bytes that file systems allow
CHAIN_IDS = string.ascii_uppercase + string.ascii_lowercase + string.digits  #: as PDB files have them
JOIN = ":"  #: between the chains of a complex

#: Rare amino acids, by the one that comes nearest to them.
_REPLACED = {"U": ("C", "selenocysteines (U)"), "O": ("K", "pyrrolysines (O)")}
_AMBIGUOUS = {"B": "D or N", "Z": "E or Q", "J": "I or L"}
_NUCLEOTIDES = 12  #: letters, from which on A, C, G, T (or U) alone are remarkable


@dataclass(frozen=True)
class SequenceRecord:
    """The sequences of one protein or complex.

    Args:
        name: differs from those of the other records, also where capitals do not count, and can name a file.
        chains: one-letter id and residues of each chain, in the order of the file.
    """

    name: str
    chains: tuple[tuple[str, str], ...]


class SequenceSet(NamedTuple):
    """Records, and what was changed in reading them.

    Args:
        records: in the order of the file.
        tally: how many of what were changed or left out.
    """

    records: list[SequenceRecord]
    tally: Counter[str]


class _Row(NamedTuple):
    line: int
    name: str
    chains: tuple[tuple[str, str], ...]  # id and text as in the file


def read_sequences(path: str | Path, *, max_length: int = MAX_LENGTH) -> SequenceSet:
    """Read the sequences of a FASTA or CSV file.

    FASTA (.fasta, .fa, .faa) has one record per header, whose first word is the name; ":" stands between the sequences
    of a complex, whose chains are A, B, … CSV (.csv) has the columns name and sequence, the same way, or for antibodies
    name, heavy and light: chains H and L, of which one may be empty. Both may be packed (.gz).

    Lower case is read as upper case, and U (selenocysteine) as C, O (pyrrolysine) as K; X is kept. Left out are gaps
    ("-" and "."), white space, a "*" at the end of a chain, comments (";") of FASTA files, empty rows and other columns
    of CSV files. Names are numbered where they are alike, and changed where they could not name a file. Chains that may
    be nucleic acids are kept. All of it is counted in the tally.

    Args:
        path: of the file.
        max_length: residues that a chain may have.

    Raises:
        ValueError: for other letters, B, Z and J (either of two amino acids) among them, empty and too long chains,
            wrong columns, files without records and files of another kind, telling file, line, record and place.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "two.fasta"
        >>> _ = file.write_text(">first of two\\nMKV\\nLAA\\n>complex\\nGSHM:ggX*\\n")
        >>> found = read_sequences(file)
        >>> [(record.name, record.chains) for record in found.records]
        [('first', (('A', 'MKVLAA'),)), ('complex', (('A', 'GSHM'), ('B', 'GGX')))]
        >>> found.tally["letters in lower case read as upper case"]
        2
    """
    path, tally = Path(path), Counter[str]()
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    text = _text(path)
    rows = _csv_rows if path.name.lower().endswith((".csv", ".csv.gz")) else _fasta_rows
    records, taken = [], set[str]()
    for count, row in enumerate(rows(path, text, tally), 1):
        where = f"{path}, line {row.line}, record {row.name or count!r}"
        chains = [(each, _letters(where, each, letters, max_length, tally)) for each, letters in row.chains]
        records.append(SequenceRecord(_distinct(_file_name(row.name, count, tally), taken, tally), tuple(chains)))
    if not records:
        raise ValueError(f"{path}: expected sequences, found none")
    return SequenceSet(records, Counter({what: number for what, number in tally.items() if number}))


def _text(path: Path) -> str:
    if path.is_dir():
        raise ValueError(f"{path}: expected a file of sequences, got a folder")
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}")
    content = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: the compressed file is truncated or broken ({error}), fetch it again") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text (UTF-8), got other bytes at position {error.start}") from error
    if "\0" in text:
        raise ValueError(f"{path}: expected text, got a binary file (a zero byte at position {text.index(chr(0))})")
    if not text.strip():
        raise ValueError(f"{path}: expected sequences, got an empty file")
    return text


def _fasta_rows(path: Path, text: str, tally: Counter[str]) -> Iterator[_Row]:
    start, name, parts = 0, "", list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(">"):
            if start:
                yield _Row(start, name, _joined(path, start, name, "".join(parts)))
            start, name, parts = number, next(iter(line[1:].split()), ""), []
        elif line.startswith(";"):
            tally["lines of comments left out"] += 1
        elif start:
            parts.append(line)
        elif line.strip():
            raise ValueError(
                f"{path}, line {number}: expected a header that begins with '>', got {line.strip()[:40]!r}"
            )
    if start:
        yield _Row(start, name, _joined(path, start, name, "".join(parts)))


def _csv_rows(path: Path, text: str, tally: Counter[str]) -> Iterator[_Row]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    wanted: tuple[str, ...] = ()
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                tally["empty rows left out"] += 1
            elif not columns:
                columns = [cell.strip().lower() for cell in cells]
                wanted = _check_columns(path, columns)
                tally["columns left out"] += len(columns) - len(wanted)
            elif len(cells) != len(columns):
                raise ValueError(f"{path}, line {line}: expected {len(columns)} values, got {len(cells)}")
            else:
                name, *texts = (cells[columns.index(column)].strip() for column in wanted)
                if len(texts) == 1:
                    yield _Row(line, name, _joined(path, line, name, texts[0]))
                else:
                    pair = tuple((each, letters) for each, letters in zip("HL", texts) if letters)
                    yield _Row(line, name, pair or (("H", ""),))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not readable as CSV ({error})") from error


def _check_columns(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """Return which columns tell the sequences."""
    for wanted in COLUMNS:
        other = {name for each in COLUMNS for name in each} - set(wanted)
        if all(columns.count(name) == 1 for name in wanted) and not other & set(columns):
            return wanted
    names = list(dict.fromkeys(name for each in COLUMNS for name in each))
    near = {name: difflib.get_close_matches(name, names, n=1) for name in columns if name not in names}
    hints = [f"did you mean {close[0]!r} by {name!r}?" for name, close in near.items() if close]
    if len(columns) == 1 and (other_sign := re.search(r"[;\t|]", columns[0])):
        hints = [f"values are separated by ',', not by {other_sign[0]!r}"]
    raise ValueError(
        f"{path}: expected the columns {' or '.join(map(','.join, COLUMNS))}, found {','.join(columns)}"
        + "".join(f"; {hint}" for hint in hints)
    )


def _joined(path: Path, line: int, name: str, text: str) -> tuple[tuple[str, str], ...]:
    """Cut the text of a complex into chains."""
    parts = text.split(JOIN)
    if len(parts) > len(CHAIN_IDS):
        raise ValueError(
            f"{path}, line {line}, record {name!r}: {len(parts)} chains, expected {len(CHAIN_IDS)} at most"
        )
    return tuple(zip(CHAIN_IDS, parts))


def _letters(where: str, chain: str, text: str, max_length: int, tally: Counter[str]) -> str:
    """Return the residues of a chain, refused where they are none."""
    where = f"{where}, chain {chain}"
    spaced = re.sub(r"\s", "", text)
    bare = re.sub(r"[-.]", "", spaced)
    tally["white space within sequences left out"] += len(text.strip()) - len(spaced)
    tally["gaps (- and .) left out"] += len(spaced) - len(bare)
    letters = bare.removesuffix("*")
    tally["signs of an end (*) left out"] += len(bare) - len(letters)
    if not letters:
        raise ValueError(f"{where}: expected a sequence, got none ({text.strip()[:40]!r})")
    tally["letters in lower case read as upper case"] += sum(letter in string.ascii_lowercase for letter in letters)
    upper = letters.translate(str.maketrans(string.ascii_lowercase, string.ascii_uppercase))
    tally["sequences of A, C, G and T or U alone, perhaps nucleic acids"] += len(upper) >= _NUCLEOTIDES and set(
        upper
    ) <= set("ACGTU")
    for letter, (instead, what) in _REPLACED.items():
        tally[f"{what} read as {instead}"] += upper.count(letter)
        upper = upper.replace(letter, instead)
    if bad := re.search(f"[^{''.join(RESIDUE_ATOMS)}]", upper):
        found = letters[bad.start()]
        means = f", which may be {_AMBIGUOUS[bad[0]]}" if bad[0] in _AMBIGUOUS else ""
        allowed = "".join(RESIDUE_ATOMS)
        raise ValueError(f"{where}: residue {bad.start() + 1} is {found!r}{means}; expected one of {allowed}")
    if len(upper) > max_length:
        raise ValueError(f"{where}: {len(upper)} residues, expected {max_length} at most")
    tally["unknown residues (X) kept"] += upper.count(UNKNOWN)
    return upper


def _file_name(name: str, count: int, tally: Counter[str]) -> str:
    """Return a name that can name a file."""
    if not name:
        tally["records without a name called by their number"] += 1
        return f"record-{count}"
    safe = re.sub(r"[^\w.+=-]", "_", unicodedata.normalize("NFC", name))[:MAX_NAME]
    # Files that begin with a dot are hidden, with a dash they look like options.
    safe = re.sub(r"^[.-]+|\.+$", "_", safe)
    tally["names changed to be names of files"] += safe != name
    return safe


def _distinct(name: str, taken: set[str], tally: Counter[str]) -> str:
    """Number a name that another record has, and keep it."""
    number, found = 1, name
    while found.casefold() in taken:
        number, found = number + 1, f"{name}-{number + 1}"
    tally["names of several records numbered"] += found != name
    taken.add(found.casefold())
    return found
