"""Protein Data Bank files: the first model, of alternate locations the one with the highest occupancy."""

from __future__ import annotations

import gzip
import warnings
from itertools import takewhile
from pathlib import Path

import numpy as np

from .frames import Frame, FrameProblem

#: Ends of the names of these files.
SUFFIXES = (".pdb", ".ent", ".pdb.gz", ".ent.gz")
#: Units of what the files tell of their atoms.
LABEL_UNITS = {"b_factor": "Å²", "charge": "e"}


def read_pdb(path: Path) -> Frame:
    """Return all atoms of the first model, water and other hetero atoms with them, in Å.

    Per atom there are `b_factor` in Å², `occupancy` and formal `charge` in e. Each residue takes the alternate
    location with the highest occupancy, the first of equal ones. The cell of CRYST1 is not used: the atoms are read
    as one molecule. What was left out is counted in the remarks.

    Args:
        path: ends in .pdb or .ent, perhaps with .gz.

    Raises:
        FrameProblem: if it is no such file.
        ImportError: if biotite is not installed.
    """
    try:
        from biotite.structure import filter_highest_occupancy_altloc, infer_elements
        from biotite.structure.io.pdb import PDBFile
    except ImportError as error:
        raise ImportError('reading PDB files needs biotite: pip install "pyg_equiformer[pdb]"') from error
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as text, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guessed elements are counted below
            file = PDBFile.read(text)
            models = file.get_model_count()
            atoms = file.get_structure(model=1, altloc="all", extra_fields=["b_factor", "occupancy", "charge"])
        kept = filter_highest_occupancy_altloc(atoms, atoms.altloc_id, atoms.occupancy)
    except Exception as error:  # of gzip, of the text, of biotite, of broken numbers
        raise FrameProblem("not readable", f"expected a PDB file, but got {error!r}") from error
    atoms, without = atoms[kept], _without_element(file.lines)
    # Files from before 1996 have a label of the entry where element and charge are now.
    old = np.array([not element.isalpha() for element in atoms.element])
    atoms.element[old], atoms.charge[old] = infer_elements(atoms.atom_name[old]), 0
    remarks = {
        "atoms at alternate locations of lower occupancy left out": int((~kept).sum()),
        "models after the first left out": models - 1,
        "cells of CRYST1 not used, as the atoms are read as one molecule": int(atoms.box is not None),
        "elements guessed from the name of the atom": int(old.sum()) + without,
    }
    return Frame(
        numbers=np.array([_atomic_number(element) for element in atoms.element]),
        positions=np.round(atoms.coord.astype(np.float64), 3),  # the digits of the file
        per_atom={"b_factor": atoms.b_factor, "occupancy": atoms.occupancy, "charge": atoms.charge},
        remarks={what: count for what, count in remarks.items() if count},
    )


def _without_element(lines: list[str]) -> int:
    """Atoms of the first model without an element: biotite guesses it."""
    first = takewhile(lambda line: not line.startswith("ENDMDL"), lines)
    return sum(line.startswith(("ATOM", "HETATM")) and not line[76:78].strip() for line in first)


def _atomic_number(element: str) -> int:
    """Return the atomic number, of hydrogen for its isotopes, or 0."""
    from ase.data import atomic_numbers

    symbol = element.strip().capitalize()
    return 1 if symbol in ("D", "T") else atomic_numbers.get(symbol, 0)
