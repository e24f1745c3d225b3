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
        text = _checked_pdb(path, text, tally)
    else:
        _check_cif(path, text, tally)
    return [_parse(path, text, tally)]


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


def _check_cif(path: Path, text: str, tally: Counter[str]) -> None:
    if "_atom_site." not in text:
        raise ValueError(f"{path}: expected an mmCIF file, found no _atom_site category")
    tally["mmCIF files that do not end with #, perhaps cut at the end of a line"] += text.rstrip()[-1] != "#"


def _short_row(text: str) -> str:
    """Name the first row of atoms with too few values, for a file that could not be parsed; "" if there is none."""
    lines = text.splitlines()
    columns = [i for i, line in enumerate(lines) if line.startswith("_atom_site.")]
    for number, row in enumerate(lines[columns[-1] + 1 :], columns[-1] + 2) if columns else ():
        if row.startswith(("#", "loop_", "_")):
            break
        if len(row.split()) < len(columns):
            return f", line {number}: expected {len(columns)} values, got {len(row.split())}"
    return ""


def _parse(path: Path, text: str, tally: Counter[str]) -> AtomTable:
    from io import StringIO

    try:
        from biotite.structure.io import pdb, pdbx
    except ImportError as error:
        raise ImportError('reading protein files needs biotite: pip install "pyg_equiformer[pdb]"') from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # elements are told from the names of atoms
            options = {"model": 1, "altloc": "all", "extra_fields": ["occupancy"]}
            if path.name.lower().endswith(PDB_SUFFIXES):
                file = pdb.PDBFile.read(StringIO(text))
                models, atoms = file.get_model_count(), file.get_structure(**options)
            else:
                cif = pdbx.CIFFile.read(StringIO(text))
                models, atoms = pdbx.get_model_count(cif), pdbx.get_structure(cif, **options)
    except Exception as error:  # of biotite, in many classes
        where = "" if path.name.lower().endswith(PDB_SUFFIXES) else _short_row(text)
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
            missing = [name for name in _ARRAYS if name not in file]
            if missing:
                raise ValueError(f"{path}: expected the arrays {', '.join(_ARRAYS)}, missing are {', '.join(missing)}")
            arrays = {name: file[name] for name in _ARRAYS}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path}: expected an .npz file, got a truncated or broken one ({error})") from error
    mask = np.unpackbits(arrays["atom14_mask"], axis=1)[:, :14].astype(bool)
    offset, residues = arrays["offset"], len(mask)
    letters = "".join(arrays["seq"].tolist())
    if int(mask.sum()) != len(arrays["coords_mA"]) or offset[-1] != residues or len(letters) != residues:
        raise ValueError(
            f"{path}: the arrays do not fit together: {int(mask.sum())} atoms in atom14_mask and "
            f"{len(arrays['coords_mA'])} in coords_mA, {residues} residues and {len(letters)} letters in seq"
        )
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
