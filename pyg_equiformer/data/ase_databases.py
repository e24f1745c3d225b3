"""ASE databases: SQLite and JSON files, and the LMDB layout of OC20 and OMat24."""

from __future__ import annotations

import os
import sqlite3
import threading
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .ase_frames import frame_units, require_ase
from .frames import Frame, FrameProblem, FrameSource

#: Open LMDB files and the ids of their rows: LMDB must not open one file twice in a process.
_opened: dict[Path, tuple[Any, Sequence[int]]] = {}


def _close_lmdb() -> None:
    for database, _ in _opened.values():
        database.close()
    _opened.clear()


# A forked child could neither use an open file nor open it again; both processes open it when they need it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_lmdb)


class AseDatabase(FrameSource):
    """Rows of an ASE database: .db (SQLite) is read row by row, .json is held in memory.

    Args:
        path: of the file.

    Raises:
        ValueError: if it is not an ASE database, or an empty one.
    """

    def __init__(self, path: Path) -> None:
        require_ase()
        self.path = path
        self._rows: list[Any] = []
        self._ids = array("q")
        self._connected: tuple[tuple[int, int], Any] | None = None
        if path.suffix.lower() == ".json":
            self.held_because = "ASE reads .json databases as a whole; convert it with: ase db old.json -i new.db"
            self._rows = _json_rows(path)
            self._ids = array("q", (row.id for row in self._rows))
        else:
            self._ids = _sqlite_ids(path)
        if not len(self._ids):
            raise ValueError(f"{path}: the database has no rows, expected at least one")

    def __len__(self) -> int:
        return len(self._ids)

    def where(self, index: int) -> str:
        return f"{self.path}, frame {index} (id {self._ids[index]})"

    def read(self, index: int) -> Frame:
        if self._rows:
            return frame_from_row(self._rows[index])
        return _read_row(self._connection(), self._ids[index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connected": None}

    def _connection(self) -> Any:
        """The database, connected by this process and thread: SQLite's connections cannot be handed on."""
        owner = (os.getpid(), threading.get_ident())
        if self._connected is None or self._connected[0] != owner:
            from ase.db import connect

            if not self.path.is_file():  # ASE would make an empty one
                raise FileNotFoundError(f"{self.path}: the database is no longer there")
            database = connect(self.path, use_lock_file=False)
            self._connected = owner, database.__enter__()  # keeps one connection for all rows, until it is dropped
        return self._connected[1]


class AseLmdb(FrameSource):
    """Rows of ASE-LMDB files (.aselmdb), read one by one.

    Args:
        path: one such file, or a folder of them, taken in the order of their names.

    Raises:
        ImportError: if the backend is not installed.
        ValueError: if a file is no such database, or all are empty.
    """

    def __init__(self, path: Path) -> None:
        require_ase()
        self.path = path
        self._files = sorted(path.glob("*.aselmdb")) if path.is_dir() else [path]
        self._ids = [_open_lmdb(file)[1] for file in self._files]
        self._ends = np.cumsum([len(part) for part in self._ids]).tolist()
        if not self._ends[-1]:
            raise ValueError(f"{path}: the database has no rows, expected at least one")

    def __len__(self) -> int:
        return self._ends[-1]

    def where(self, index: int) -> str:
        file, row = self._place(index)
        return f"{file}, frame {index} (id {row})"

    def read(self, index: int) -> Frame:
        file, row = self._place(index)
        return _read_row(_open_lmdb(file)[0], row)

    def _place(self, index: int) -> tuple[Path, int]:
        part = bisect_right(self._ends, index)
        return self._files[part], self._ids[part][index - (self._ends[part - 1] if part else 0)]


def _sqlite_ids(path: Path) -> array[int]:
    try:
        # Read-only, since ASE would make tables in a file that has none.
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return array("q", (row[0] for row in connection.execute("SELECT id FROM systems ORDER BY id")))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ValueError(f"{path}: expected an ASE database (SQLite), but got: {error}") from error


def _json_rows(path: Path) -> list[Any]:
    from ase.db import connect

    try:
        return sorted(connect(path, use_lock_file=False).select(), key=lambda row: row.id)
    except Exception as error:  # ASE's decoder fails in many ways
        raise ValueError(f"{path}: expected an ASE database (JSON), but got {error!r}") from error


def _open_lmdb(path: Path) -> tuple[Any, Sequence[int]]:
    """Return the database and the ids of its rows, as a range where none were deleted."""
    key = path.resolve()
    if key not in _opened:
        try:
            import lmdb
            from ase_db_backends.aselmdb import LMDBDatabase
        except ImportError as error:
            raise ImportError('reading .aselmdb needs a backend: pip install "pyg_equiformer[lmdb]"') from error
        try:
            # First by itself: the backend, failing, would complain a second time when it is taken down.
            lmdb.open(str(path), subdir=False, readonly=True, lock=False).close()
            database = LMDBDatabase(path, readonly=True, use_lock_file=False, readahead=False)
        except Exception as error:  # of lmdb, of zlib, of ASE's decoder
            raise ValueError(f"{path}: expected an ASE-LMDB database, but got {error!r}") from error
        ids, database.ids = database.ids, []  # rows are read by id: its list of all of them is not needed
        whole = bool(ids) and ids[-1] - ids[0] + 1 == len(ids)
        _opened[key] = database, range(ids[0], ids[-1] + 1) if whole else array("q", ids)
    return _opened[key]


def _read_row(database: Any, row: int) -> Frame:
    try:
        return frame_from_row(database.get(id=row))
    except FrameProblem:
        raise
    except Exception as error:  # of SQLite, of lmdb, of zlib, of ASE's decoder
        raise FrameProblem("not readable", f"expected a row of an ASE database, but got {error!r}") from error


def frame_from_row(row: Any) -> Frame:
    """Return a row as a frame: results of the calculator, key-value pairs and data all are labels by name."""
    from ase.calculators.calculator import all_outputs, all_properties

    per_structure: dict[str, Any] = dict(row.key_value_pairs)
    per_atom: dict[str, Any] = {}
    for name in (*all_properties, "initial_charges", "initial_magmoms"):
        if (value := row.get(name)) is not None:
            spec = getattr(all_outputs.get(name), "shapespec", ("natoms",) if name.startswith("initial") else ())
            (per_atom if spec[:1] == ("natoms",) else per_structure)[name] = value
    data = dict(row.data)
    return Frame(
        numbers=row.numbers,
        positions=row.positions,
        cell=np.asarray(row.cell),
        pbc=row.pbc,
        per_structure=per_structure,
        per_atom=per_atom,
        by_shape={name: value for name, value in data.items() if name not in {*per_structure, *per_atom}},
        **frame_units({**data, **row.key_value_pairs}),
    )
