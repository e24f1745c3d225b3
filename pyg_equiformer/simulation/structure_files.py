"""Structures from files and to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..training.whole_files import whole_file


def read_frames(path: str | Path) -> list[Any]:
    """Return all structures in a file that ASE reads, without the results they carry.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no structure, or none that ASE understands.
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
    for atoms in frames:
        atoms.calc = None
    return list(frames)


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
