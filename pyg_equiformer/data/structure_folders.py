"""Folders of structure files (PDB, XYZ, CIF, …), with labels from a table, and single PDB files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import extended_xyz, pdb_files
from .ase_frames import frame_from_atoms, read_atoms, require_ase
from .extended_xyz import ExtendedXyz
from .frames import EV_ANGSTROM, Frame, FrameProblem, FrameSource
from .label_tables import LabelTable, TableRow, read_label_table

TABLE = "labels.csv"  #: the table of labels that a folder may have
#: Files of a folder that are taken for structures, beside those named in its table.
STRUCTURE_SUFFIXES = (
    *pdb_files.SUFFIXES, *extended_xyz.SUFFIXES,
    ".cif", ".vasp", ".poscar", ".mol", ".sdf", ".gen", ".xsf", ".res", ".cell",
)  # fmt: skip


class StructureFolder(FrameSource):
    """Frames of the structure files in a folder, read one by one.

    With a table there is one structure per row, and per file that has no row; a file then holds one structure. Without,
    extended XYZ files may hold several, with labels of their own.

    Args:
        path: a folder, whose `labels.csv` is used if there is one; a table, for the files beside it; or one PDB file.

    Raises:
        ValueError: if there are no structure files, or the table is not in order.
    """

    def __init__(self, path: Path) -> None:
        require_ase()
        self.path = path
        folder = path if path.is_dir() else path.parent
        table_path = path if path.suffix.lower() == ".csv" else folder / TABLE if path.is_dir() else None
        self.table = read_label_table(table_path) if table_path and table_path.is_file() else None
        self.units = {**EV_ANGSTROM, **pdb_files.LABEL_UNITS}
        self._xyz: dict[Path, ExtendedXyz] = {}
        if path.is_dir() or self.table:
            files, self.notes = _files(folder, table_path)
        else:
            files, self.notes = [path], ()
        self._entries = _table_entries(folder, self.table, files) if self.table else self._own_entries(files)
        if not self._entries:
            raise ValueError(
                f"{path}: the folder has no structure files, expected some of {', '.join(STRUCTURE_SUFFIXES)}"
            )

    def __len__(self) -> int:
        return len(self._entries)

    def where(self, index: int) -> str:
        file, number, row = self._entries[index]
        if row:
            assert self.table
            return f"{self.table.path}, line {row.line} (frame {index}, {row.file or 'no file'})"
        return f"{file}, frame {number}" if self._holds_several(file) else f"{file} (frame {index})"

    def read(self, index: int) -> Frame:
        file, number, row = self._entries[index]
        if row and row.problem:
            raise FrameProblem("rows that are not in order", row.problem)
        if not file.is_file():
            raise FrameProblem("rows of files that do not exist", f"there is no file {file}")
        frame = self._read_file(file, number)
        return self._with_labels(frame, row) if row else frame

    def _read_file(self, file: Path, number: int) -> Frame:
        name = file.name.lower()
        if name.endswith(pdb_files.SUFFIXES):
            return pdb_files.read_pdb(file)
        if name.endswith(extended_xyz.SUFFIXES):
            source = self._xyz_file(file)
            if self.table:
                _check_one(len(source))
            return source.read(number)
        atoms = read_atoms(file)
        _check_one(len(atoms))
        return frame_from_atoms(atoms[0], atoms[0].info)

    def _with_labels(self, frame: Frame, row: TableRow) -> Frame:
        assert self.table
        both = sorted(name for name in row.labels if frame.has(name))
        if both:
            raise FrameProblem(
                "labels in both file and table", f"{both} stand in {row.file} itself, too; expected one of the two"
            )
        units = {name: unit for name, unit in self.table.units.items() if name in row.labels}
        labels: dict[str, Any] = {**frame.per_structure, **row.labels}
        return replace(frame, per_structure=labels, label_units={**frame.label_units, **units})

    def _own_entries(self, files: list[Path]) -> list[tuple[Path, int, TableRow | None]]:
        entries: list[tuple[Path, int, TableRow | None]] = []
        for file in files:
            count = 1
            if file.name.lower().endswith(extended_xyz.SUFFIXES):
                with suppress(FrameProblem):  # told when it is read
                    count = len(self._xyz_file(file))
            entries += [(file, number, None) for number in range(count)]
        return entries

    def _holds_several(self, file: Path) -> bool:
        return file in self._xyz and len(self._xyz[file]) > 1

    def _xyz_file(self, file: Path) -> ExtendedXyz:
        if file in self._xyz:
            return self._xyz[file]
        try:
            source = ExtendedXyz(file)
        except ValueError as error:
            raise FrameProblem("not readable", str(error)) from error
        if not self.table:  # with one, every file holds one frame, found again at once
            self._xyz[file] = source
        return source


def _check_one(count: int) -> None:
    if count != 1:
        raise FrameProblem("files with several structures", f"expected one structure in the file, got {count}")


def _files(folder: Path, table: Path | None) -> tuple[list[Path], tuple[str, ...]]:
    """Structure files of a folder by name, and a note on what else is there."""
    files, others, folders = [], list[str](), 0
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            folders += not entry.name.startswith(".")
        elif entry.name.lower().endswith(STRUCTURE_SUFFIXES):
            files.append(entry)
        elif entry != table and not entry.name.startswith("."):
            others.append(entry.name)
    notes = []
    if others:
        more = ", …" if len(others) > 3 else ""
        notes.append(
            f"{len(others)} files of {folder} are no structures and were left out: {', '.join(others[:3])}{more}"
        )
    if folders:
        notes.append(f"{folders} folders in {folder} were not looked into")
    return files, tuple(notes)


def _table_entries(folder: Path, table: LabelTable, files: list[Path]) -> list[tuple[Path, int, TableRow | None]]:
    """Rows in their order, then files without one."""
    entries: list[tuple[Path, int, TableRow | None]] = [(folder / row.file, 0, row) for row in table.rows]
    named = {file for file, _, _ in entries}
    return entries + [(file, 0, None) for file in files if file not in named]
