"""Structures from files and to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.label_units import length_factor, stated_units
from ..training.whole_files import whole_file


def read_frames(path: str | Path) -> list[Any]:
    """Return all structures in a file that ASE reads, in Å and without the results they carry.

    Frames may state their unit of length, as "length_unit=bohr" or "units=atomic" in extended XYZ.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no structure, none that ASE understands, or one in units that are not known.
    """
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}, expected structures")
    try:
        frames: Any = read(path, index=":")
    except (UnknownFileTypeError, ValueError, OSError, KeyError, IndexError, StopIteration) as error:
        raise ValueError(f"{path}: expected structures in a format that ASE reads: {error}") from error
    if not frames:
        raise ValueError(f"{path} holds no structure")
    for index, atoms in enumerate(frames):
        atoms.calc = None
        try:
            _to_angstrom(atoms)
        except ValueError as error:
            raise ValueError(f"{path}, structure {index}: {error}") from error
    return list(frames)


def _to_angstrom(atoms: Any) -> None:
    """Convert positions and cell from the unit that the frame states, and take statements off that hold no longer."""
    unit = stated_units(atoms.info)[0].get("length", "Å")
    if (factor := length_factor(unit)) != 1:
        if atoms.get_momenta().any():
            raise ValueError(f"positions in {unit} with velocities, whose unit is not told: expected positions in Å")
        atoms.set_cell(factor * atoms.cell.array, scale_atoms=False)
        atoms.positions *= factor
    for key, value in list(atoms.info.items()):
        general, labels = stated_units({key: value})
        if general or labels.keys() & {"energy", "forces", "stress"}:
            del atoms.info[key]


def read_one(path: str | Path, index: int | None) -> Any:
    """Return one structure of a file, by its index where there are several.

    Raises:
        FileNotFoundError, ValueError: as in `read_frames`, or if there is no structure of this index, or none was
            given where there are several.
    """
    frames = read_frames(path)
    if index is None and len(frames) > 1:
        raise ValueError(f"{path} holds {len(frames)} structures, expected --index from 0 to {len(frames) - 1}, or -1")
    if index is not None and not -len(frames) <= index < len(frames):
        raise ValueError(f"{path} holds {len(frames)} structures, there is none of index {index}")
    return frames[index or 0]


def write_frames(path: str | Path, frames: Sequence[Any]) -> None:
    """Write structures with their results to an extended XYZ file, whole or not at all."""
    from ase.io.extxyz import write_xyz

    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        write_xyz(file, list(frames))
