"""Labels of structure files in a table: a CSV file with a column `file` and one column per label."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .label_units import same_unit

_MISSING = ("", "nan", "na", "n/a", "none", "null")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf(?:inity)?)\s*(.*?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class TableRow:
    """Labels of one file, or why the row cannot be used.

    Args:
        file: as written in the table.
        line: in the table, as editors count.
        labels: by name; vectors from their three columns. Empty cells are missing.
        problem: what is wrong with the row; "" if nothing is.
    """

    file: str
    line: int
    labels: dict[str, float | np.ndarray] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class LabelTable:
    """Rows of a table and the units of its columns, from the header ("gap [eV]") or the cells ("-6.8 eV").

    Args:
        path: of the table.
        names: of the labels.
        rows: in the order of the table.
        units: by label, where there are any.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[TableRow]
    units: dict[str, str]


def read_label_table(path: Path) -> LabelTable:
    """Read a table of labels.

    Args:
        path: of a CSV file: a header with `file` and the names of the labels, then one row per structure. Three
            columns `dipole_x`, `dipole_y`, `dipole_z` are one vector `dipole`.

    Raises:
        ValueError: if it is no text, the header is not in order, or a column has mixed units.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder, "labels.csv")
        ...     _ = table.write_text("file,gap [eV]\\nwater.xyz,12.5\\n")
        ...     read_label_table(table).rows[0].labels
        {'gap': 12.5}
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a table as CSV text, reading failed: {error}") from error
    if not lines:
        raise ValueError(f"{path}: the table is empty, expected a header with the column 'file'")
    columns, units = _header(path, lines[0][1])
    cell_units: dict[str, dict[str, int]] = {name: {} for name in columns}
    rows = [_row(line, cells, columns, cell_units) for line, cells in lines[1:]]
    if not rows:
        raise ValueError(f"{path}: the table has a header but no rows")
    for name, found in cell_units.items():
        units |= _column_unit(path, name, units.get(name), found)
    vectors = _vectors(path, columns, units)
    rows = [_with_vectors(row, vectors) for row in rows]
    parts = {part for three in vectors.values() for part in three}
    names = tuple(name for name in (*columns, *vectors) if name != "file" and name not in parts)
    for vector, three in vectors.items():
        if three[0] in units:
            units[vector] = units[three[0]]
    return LabelTable(path, names, rows, {name: unit for name, unit in units.items() if name in names})


def _header(path: Path, cells: list[str]) -> tuple[list[str], dict[str, str]]:
    columns, units = [], {}
    for cell in cells:
        match = re.fullmatch(r"\s*(.*?)\s*(?:[\[(]\s*(.*?)\s*[\])])?\s*", cell)
        name, unit = (match[1], match[2]) if match else (cell, None)
        columns.append(name)
        if unit:
            units[name] = unit
    if "file" not in columns:
        hint = "; separate columns by commas" if len(columns) == 1 and re.search("[;\t]", cells[0]) else ""
        raise ValueError(f"{path}: expected a column 'file' in the header, got {columns}{hint}")
    twice = sorted({name for name in columns if columns.count(name) > 1 or not name})
    if twice:
        raise ValueError(f"{path}: expected a name of its own for each column, got {columns}")
    return columns, units


def _row(line: int, cells: list[str], columns: list[str], cell_units: dict[str, dict[str, int]]) -> TableRow:
    name = cells[columns.index("file")].strip() if len(cells) > columns.index("file") else ""
    if len(cells) != len(columns):
        return TableRow(name, line, problem=f"expected {len(columns)} cells as in the header, got {len(cells)}")
    if not name:
        return TableRow(name, line, problem="expected the name of a file, got an empty cell")
    labels: dict[str, float | np.ndarray] = {}
    for column, cell in zip(columns, cells):
        if column == "file" or cell.strip().lower() in _MISSING:
            continue
        match = _NUMBER.fullmatch(cell)
        if match is None:
            return TableRow(name, line, problem=f"expected {column} as a number, got {cell!r}")
        labels[column] = float(match[1])
        if not math.isfinite(labels[column]):
            return TableRow(name, line, problem=f"expected {column} as a finite number, got {cell!r}")
        cell_units[column].setdefault(match[2], line)
    return TableRow(name, line, labels)


def _column_unit(path: Path, name: str, header: str | None, found: dict[str, int]) -> dict[str, str]:
    """The one unit of a column; cells without a unit are in that of the header."""
    told = {unit: line for unit, line in found.items() if unit and not (header and same_unit(unit, header))}
    first = next(iter(told), "")
    if any(not same_unit(unit, first) for unit in told) or (told and (header or "" in found)):
        units = [f"line {line} in {unit or header or 'no unit'}" for unit, line in found.items()]
        raise ValueError(
            f"{path}: mixed units in the column {name}{f' [{header}]' if header else ''}: {', '.join(units)}; expected "
            f"one unit for the whole column, best in the header as {name} [eV]"
        )
    return {name: next(iter(told))} if told else {}


def _vectors(path: Path, columns: list[str], units: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    vectors = {}
    for base in [name[:-2] for name in columns if name.endswith("_x")]:
        three = (f"{base}_x", f"{base}_y", f"{base}_z")
        missing = [part for part in three if part not in columns]
        if len(missing) == 2:
            continue  # a name that happens to end in _x
        if missing or base in columns:
            raise ValueError(f"{path}: expected {', '.join(three)} for the vector {base}, got columns {columns}")
        if len({units.get(part) for part in three}) > 1:
            raise ValueError(f"{path}: mixed units in the vector {base}: {[units.get(part) for part in three]}")
        vectors[base] = three
    return vectors


def _with_vectors(row: TableRow, vectors: dict[str, tuple[str, str, str]]) -> TableRow:
    labels = dict(row.labels)
    for name, three in vectors.items():
        parts = [labels.pop(part, None) for part in three]
        present = [part for part in parts if part is not None]
        if len(present) == 3:
            labels[name] = np.array(present, dtype=np.float64)
        elif present:
            return TableRow(row.file, row.line, problem=f"expected all three of {', '.join(three)}, got {parts}")
    return TableRow(row.file, row.line, labels, row.problem)
