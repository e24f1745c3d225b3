"""Extended XYZ: frames by their place in the file, labels by name from the comment line and the columns."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .ase_frames import frame_from_atoms, require_ase
from .frames import Frame, FrameProblem, FrameSource

#: Ends of the names of these files.
SUFFIXES = tuple(name + packing for name in (".xyz", ".extxyz") for packing in ("", ".xz", ".gz"))
_OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}


class ExtendedXyz(FrameSource):
    """Frames of an extended XYZ file, plain or compressed (.xz, .gz).

    The file is gone through once to find where frames begin. A frame with fewer lines than atoms is told from the
    next one by that one's line with the number of atoms, so that only the truncated frame is lost.

    Args:
        path: of the file. Of a compressed one the unpacked text is held in memory.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not text, not compressed as its suffix says, or has no frames.
    """

    def __init__(self, path: Path) -> None:
        require_ase()
        self.path = path
        packing = path.suffix.lower()
        self.held_because = f"{packing} files are unpacked as a whole; unpack it first" if packing in _OPENERS else ""
        self._text: bytes | None = None
        self._starts, self._ends = array("q"), array("q")
        self._problems: dict[int, str] = {}
        try:
            if packing in _OPENERS:
                with _OPENERS[packing](path) as file:
                    self._text = file.read()
            with self._open() as file:
                for start, end, problem in _frames(file):
                    if problem:
                        self._problems[len(self._starts)] = problem
                    self._starts.append(start)
                    self._ends.append(end)
        except (lzma.LZMAError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
            kind = f"{packing} compressed text" if packing in _OPENERS else "plain text"
            raise ValueError(f"{path}: expected extended XYZ as {kind}, reading failed: {error}") from error
        if not len(self._starts):
            raise ValueError(f"{path}: the file has no frames, expected extended XYZ")

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, index: int) -> Frame:
        if index in self._problems:
            raise FrameProblem("another number of lines than of atoms", self._problems[index])
        with self._open() as file:
            file.seek(self._starts[index])
            block = file.read(self._ends[index] - self._starts[index])
        try:
            return _parse(block.decode())
        except UnicodeDecodeError as error:
            raise FrameProblem("not readable", f"expected extended XYZ as plain text, got {error}") from error

    def _open(self) -> BinaryIO:
        # Opened anew for every frame: workers of a DataLoader must not share the position in the file.
        return self.path.open("rb") if self._text is None else io.BytesIO(self._text)


def _frames(file: BinaryIO) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and problem of each frame: the number of atoms, a comment, one line per atom."""
    position, line = 0, file.readline()
    pending: tuple[int, int] | None = None  # the last whole frame; lines that follow it may belong to it
    while line:
        start = position
        position += len(line)
        text = line.decode().strip()
        line = file.readline()
        if not text:
            continue
        if not text.isdecimal() or int(text) < 1:
            problem = f"expected the number of atoms, got {text[:40]!r}"
            if pending and len(text.split()) >= 4:  # a line as of an atom: element and position at least
                start, problem = pending[0], f"there are more lines than atoms: {problem} after its last atom"
            elif pending:
                yield (*pending, "")
            while line and not line.strip().isdigit():  # to the next frame
                position += len(line)
                line = file.readline()
            yield start, position, problem
            pending = None
            continue
        if pending:
            yield (*pending, "")
            pending = None
        found, count = 0, int(text)
        position += len(line)  # the comment
        line = file.readline() if line else line
        while line and found < count and line.strip() and not line.strip().isdigit():
            position, found = position + len(line), found + 1
            line = file.readline()
        if found == count:
            pending = (start, position)
        else:
            how = "the file ends" if not line else "the frame ends"
            yield start, position, f"expected {count} atoms, but {how} after {found}"
    if pending:
        yield (*pending, "")


def _parse(block: str) -> Frame:
    from ase.io.extxyz import key_val_str_to_dict, read_xyz

    info: dict[str, Any] = {}

    def comment(line: str) -> dict[str, Any]:
        # ASE takes these two names as 3 × 3 only; six numbers are common for them, too.
        told = key_val_str_to_dict(re.sub(r"(?<!\S)(stress|virial)(?=\s*=)", r"\1__", line))
        info.update({key.removesuffix("__"): value for key, value in told.items()})
        # Labels are kept from ASE, which would hand them to a calculator that halves tensors, for example.
        return {key: info.pop(key) for key in ("Lattice", "pbc", "Properties") if key in info}

    lines = block.splitlines()
    _check_columns(lines)
    try:
        atoms = next(read_xyz(io.StringIO(block), slice(None), properties_parser=comment))
    except KeyError as error:
        raise FrameProblem("unknown elements", f"not valid extended XYZ: unknown element {error}") from error
    except Exception as error:  # the parser fails in many ways: missing columns, bad numbers, wrong cells
        raise FrameProblem("not readable", f"not valid extended XYZ: {error!r}") from error
    return frame_from_atoms(atoms, info)


def _check_columns(lines: list[str]) -> None:
    """ASE passes over columns in excess, and tells badly of missing ones."""
    match = re.search(r'Properties\s*=\s*"?([^\s"]+)', lines[1])
    if match is None:
        return
    columns = sum(int(width) for width in match[1].split(":")[2::3] if width.isdecimal())
    for number, line in enumerate(lines[2:]):
        if len(line.split()) != columns:
            raise FrameProblem(
                "lines with missing or additional columns",
                f"not valid extended XYZ: expected {columns} columns, got {len(line.split())} for atom {number}",
            )
