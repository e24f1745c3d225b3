"""Frames from ASE's atoms, and files of the many formats that ASE reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .frames import Frame, FrameProblem, FrameSource
from .label_units import stated_units

if TYPE_CHECKING:
    from ase import Atoms

#: Columns of atoms that are no labels.
_STRUCTURE = ("numbers", "positions")


def require_ase() -> None:
    """Raise an ImportError that names the extra to install if ASE is missing."""
    try:
        import ase.io.extxyz  # noqa: F401
    except ImportError as error:
        raise ImportError('reading needs ASE: pip install "pyg_equiformer[train]"') from error


def frame_from_atoms(atoms: Atoms, info: Mapping[str, Any]) -> Frame:
    """Return atoms with the results of their calculator and what is told of them as a frame.

    Args:
        atoms: with arrays, and a calculator that holds results.
        info: labels of the structure, and units.

    Raises:
        FrameProblem: if the units of the frame cannot be understood.
    """
    from ase.calculators.calculator import all_outputs

    per_structure, per_atom = dict(info), {k: v for k, v in atoms.arrays.items() if k not in _STRUCTURE}
    if "initial_charges" in per_atom:
        per_atom.setdefault("charge", per_atom["initial_charges"])  # what the column of a file is called
    # From the results: atoms.get_forces() would zero the forces of atoms that the file marks as fixed.
    for name, value in (atoms.calc.results if atoms.calc is not None else {}).items():
        spec = getattr(all_outputs.get(name), "shapespec", ())
        (per_atom if spec[:1] == ("natoms",) else per_structure)[name] = value
    return Frame(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=np.asarray(atoms.cell),
        pbc=atoms.pbc,
        per_structure=per_structure,
        per_atom=per_atom,
        **frame_units(info),
    )


def frame_units(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a frame states of its units as arguments of `Frame`."""
    try:
        general, labels = stated_units(info)
    except ValueError as error:
        raise FrameProblem("units that are not understood", str(error)) from error
    return {"units": general, "label_units": labels}


def read_atoms(path: Path) -> list[Atoms]:
    """Return all structures of a file of any format that ASE reads.

    Raises:
        FrameProblem: if ASE does not read it.
    """
    from ase.io import read

    try:
        return list(read(path, index=":"))
    except Exception as error:  # every reader of ASE fails in its own way
        raise FrameProblem("not readable", f"expected a structure file that ASE reads, but got {error!r}") from error


class AseFile(FrameSource):
    """Frames of a file of any format that ASE reads, such as .traj, .cif or the output of a quantum code.

    Args:
        path: of the file; all its frames are held in memory.

    Raises:
        ValueError: if ASE does not read it.
    """

    def __init__(self, path: Path) -> None:
        require_ase()
        self.path = path
        self.held_because = "ASE reads all frames of such files at once; convert it to extended XYZ or .db first"
        try:
            self._atoms = read_atoms(path)
        except FrameProblem as problem:
            raise ValueError(f"{path}: {problem}") from problem

    def __len__(self) -> int:
        return len(self._atoms)

    def read(self, index: int) -> Frame:
        atoms = self._atoms[index]
        return frame_from_atoms(atoms, atoms.info)
