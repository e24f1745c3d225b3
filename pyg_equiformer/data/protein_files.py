"""Protein structure files (PDB, mmCIF, and arrays in .npz) as tables of atoms; what cannot be read is refused."""

from __future__ import annotations

import gzip
import re
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .protein_atoms import LETTER_TO_NAME, RESIDUE_ATOMS
from .protein_cif import broken_row, check_cif, parse_cif

PDB_SUFFIXES = (".pdb", ".ent", ".pdb.gz", ".ent.gz")
CIF_SUFFIXES = (".cif", ".mmcif", ".cif.gz", ".mmcif.gz")
SUFFIXES = (*PDB_SUFFIXES, *CIF_SUFFIXES, ".npz")


@dataclass(frozen=True)
class AtomTable:
    """Atoms of the first model of an entry, in the order of the file, all alternate locations among them.

    Args:
        name: of the entry.
        chain, residue_name, atom_name, insertion_code, altloc, element: text per atom [n].
        residue_number: as the file numbers them [n].
        hetero: whether it is no standard part of a polymer, by the file's record [n].
        occupancy: [n].
        pos: [n, 3] in Å, float64.
    """

    name: str
    chain: np.ndarray
    residue_name: np.ndarray
    residue_number: np.ndarray
    insertion_code: np.ndarray
    atom_name: np.ndarray
    altloc: np.ndarray
    element: np.ndarray
    hetero: np.ndarray
    occupancy: np.ndarray
    pos: np.ndarray


def read_tables(path: Path, tally: Counter[str]) -> list[AtomTable]:
    """Return the atoms of a file, one table per entry: one of a PDB or mmCIF file, any number of an `.npz`.

    Args:
        path: of the file.
        tally: what was left out is added to it.

    Raises:
        ValueError: for a file that is not what its name says, with the line where it is known.
        FileNotFoundError: if there is no such file.
        ImportError: if biotite is not installed.
    """
    name = path.name.lower()
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    if name.endswith(".npz"):
        return _read_npz(path)
    if not name.endswith(SUFFIXES):
        raise ValueError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}")
    text = _text(path)
    if name.endswith(PDB_SUFFIXES):
        return [_parse(path, _checked_pdb(path, text, tally), tally)]
    return [_parse(path, text, tally, block=check_cif(path, text, tally))]


def entry_name(path: Path) -> str:
    """Return the name of a file without its endings."""
    return next(path.name[: -len(s)] for s in sorted(SUFFIXES, key=len)[::-1] if path.name.lower().endswith(s))


def _text(path: Path) -> str:
    try:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: the compressed file is truncated or broken ({error}), fetch it again") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text, got other bytes at position {error.start}") from error


def _checked_pdb(path: Path, text: str, tally: Counter[str]) -> str:
    """Refuse broken lines of atoms, which parsers report without saying where they are, and fill in occupancies."""
    lines = text.splitlines()
    atoms, ended, model = 0, False, 0
    for number, line in enumerate(lines, 1):
        record = line[:6].strip()
        if record in ("ATOM", "HETATM"):
            atoms, ended = atoms + 1, False
            if problem := _atom_problem(line):
                raise ValueError(f"{path}, line {number}: {problem}; the file is truncated or no PDB file")
            occupancy = line[54:60].strip()
            tally["atoms without an occupancy, taken as 1"] += not occupancy
            # The parser wants a B factor too, which is not used.
            lines[number - 1] = f"{line[:54]}{occupancy or '1.00':>6}  0.00{line[66:]}".ljust(80)
        elif record == "MODEL":
            model = number
        elif record in ("END", "ENDMDL", "MASTER"):
            ended, model = True, 0
    if not atoms:
        raise ValueError(f"{path}: expected a PDB file, found no ATOM or HETATM record")
    if model:
        raise ValueError(f"{path}, line {model}: the model has no ENDMDL, the file is truncated")
    tally["PDB files without END, perhaps cut at the end of a line"] += not ended
    return "\n".join(lines) + "\n"


#: Numbers of residues: digits or, from 10000 on, letters first (hybrid-36).
_RESIDUE_NUMBER = re.compile(r" *-?\d+ *|[A-Za-z][0-9A-Za-z]{3}")


def _atom_problem(line: str) -> str:
    """Say what is wrong with the line of an atom; "" if nothing is."""
    try:
        if len(line) < 54:
            raise ValueError
        for start in (30, 38, 46):
            float(line[start : start + 8])
    except ValueError:
        return f"expected x, y, z in columns 31 to 54, got {line[30:54]!r}"
    try:
        float(line[54:60].strip() or 1)
    except ValueError:
        return f"expected an occupancy in columns 55 to 60, got {line[54:60]!r}"
    if not _RESIDUE_NUMBER.fullmatch(line[22:26]):
        return f"expected the number of a residue in columns 23 to 26, got {line[22:26]!r}"
    return ""


def _parse(path: Path, text: str, tally: Counter[str], block: str | None = None) -> AtomTable:
    """Return the atoms of a PDB text, or of the data block of an mmCIF text."""
    from io import StringIO

    try:
        from biotite.structure.io import pdb
    except ImportError as error:
        raise ImportError('reading protein files needs biotite: pip install "pyg_equiformer[pdb]"') from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # elements are told from the names of atoms
            if block is None:
                file = pdb.PDBFile.read(StringIO(text))
                models = file.get_model_count()
                atoms = file.get_structure(model=1, altloc="all", extra_fields=["occupancy"])
            else:
                models, atoms = parse_cif(text, block)
    except Exception as error:  # of biotite, in many classes
        where = "" if block is None else broken_row(text)
        raise ValueError(f"{path}{where or ': not readable'}; the file is truncated or broken ({error})") from error
    tally["models after the first left out"] += models - 1
    return AtomTable(
        name=entry_name(path),
        chain=atoms.chain_id,
        residue_name=atoms.res_name,
        residue_number=atoms.res_id,
        insertion_code=atoms.ins_code,
        atom_name=atoms.atom_name,
        altloc=atoms.altloc_id,
        element=atoms.element,
        hetero=atoms.hetero,
        occupancy=atoms.occupancy,
        pos=np.round(atoms.coord.astype(np.float64), 3),  # the digits of the file
    )


#: Arrays of an .npz file of chains.
_ARRAYS = ("name", "offset", "seq", "chain", "atom14_mask", "coords_mA")


def _read_npz(path: Path) -> list[AtomTable]:
    """Read chains from arrays: `coords_mA` in 0.001 Å of the atoms that the bits of `atom14_mask` [R, 2] say are there.

    `offset` [entries + 1] cuts the R residues into entries with `name` and `seq`; `chain` [R] counts their chains.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: expected an .npz file of arrays, got a truncated, broken or other one") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: expected the arrays {', '.join(_ARRAYS)}, missing are {', '.join(missing)}")
    if problem := _array_problem(arrays):
        raise ValueError(f"{path}: the arrays do not fit together: {problem}")
    mask = np.unpackbits(arrays["atom14_mask"], axis=1)[:, :14].astype(bool)
    offset, letters = arrays["offset"], "".join(arrays["seq"].tolist())
    residue, place = np.nonzero(mask)
    names = np.array([[*RESIDUE_ATOMS[a], *[""] * (14 - len(RESIDUE_ATOMS[a]))] for a in letters])
    rows = np.searchsorted(residue, offset)
    tables = []
    for k, name in enumerate(arrays["name"].tolist()):
        part = slice(rows[k], rows[k + 1])
        of, count = residue[part], rows[k + 1] - rows[k]
        atom_name = names[of, place[part]]
        tables.append(
            AtomTable(
                name=name,
                chain=np.array([chr(65 + c) for c in arrays["chain"][of]]),
                residue_name=np.array([LETTER_TO_NAME[letters[r]] for r in of]),
                residue_number=of - offset[k] + 1,
                insertion_code=np.full(count, ""),
                atom_name=atom_name,
                altloc=np.full(count, "."),
                element=np.array([a[:1] for a in atom_name]),
                hetero=np.zeros(count, bool),
                occupancy=np.ones(count),
                pos=arrays["coords_mA"][part] / 1000,
            )
        )
    return tables


def _array_problem(arrays: dict[str, np.ndarray]) -> str:
    """Say what is wrong with the arrays of an .npz file; "" if nothing is."""
    mask, coords, offset = arrays["atom14_mask"], arrays["coords_mA"], arrays["offset"]
    if mask.dtype != np.uint8 or mask.shape[1:] != (2,) or coords.shape[1:] != (3,):
        return (
            f"expected atom14_mask of uint8 [R, 2] and coords_mA [atoms, 3], got {mask.dtype} {list(mask.shape)} and "
            f"{list(coords.shape)}"
        )
    letters = "".join(map(str, arrays["seq"].tolist()))
    atoms = int(np.unpackbits(mask, axis=1)[:, :14].sum())
    if atoms != len(coords) or not len(mask) == len(letters) == len(arrays["chain"]):
        return (
            f"{atoms} atoms in atom14_mask and {len(coords)} in coords_mA; {len(mask)} residues in atom14_mask, "
            f"{len(arrays['chain'])} in chain and {len(letters)} letters in seq"
        )
    entries = len(arrays["name"])
    if len(offset) != entries + 1 or offset[0] != 0 or offset[-1] != len(mask) or (np.diff(offset) < 0).any():
        return f"expected an offset [{entries + 1}] that rises from 0 to {len(mask)} residues, got {_ends(offset)}"
    if unknown := sorted(set(letters) - set(RESIDUE_ATOMS)):
        return f"expected letters of amino acids in seq, got {', '.join(map(repr, unknown))}"
    return ""


def _ends(values: np.ndarray) -> str:
    return f"{values[0]} … {values[-1]} [{len(values)}]" if len(values) else "none"
