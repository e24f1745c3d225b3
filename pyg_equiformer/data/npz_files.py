"""NumPy archives in the layouts of sGDML (R, z, E, F) and of the revised MD17 (coords, nuclear_charges, …)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import keys
from .frames import Frame, FrameProblem, FrameSource
from .label_units import stated_units

#: Positions, atomic numbers, energies and forces of the two layouts.
_LAYOUTS = (("R", "z", "E", "F"), ("coords", "nuclear_charges", "energies", "forces"))


class NpzFile(FrameSource):
    """Frames of a NumPy archive, all of them in memory as arrays and made into structures one by one.

    Every array with one entry per frame is a label by its name. Atomic numbers may differ between frames, as
    [F, n]; zeros after the last atom fill up shorter frames.

    Args:
        path: of the archive.

    Raises:
        ValueError: if it is no archive, has neither layout, or its arrays do not fit together.
    """

    units = MappingProxyType({"length": "Å", "energy": "kcal/mol"})

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: dict[str, np.ndarray] | None = None
        arrays = self._arrays()
        layout = next((layout for layout in _LAYOUTS if {*layout[:2]} <= set(arrays)), None)
        if layout is None:
            raise ValueError(
                f"{path}: expected R and z (sGDML) or coords and nuclear_charges (revised MD17), found {sorted(arrays)}"
            )
        self._pos, self._z, *labels = layout
        self.aliases = dict(zip((keys.ENERGY, keys.FORCES), labels))
        shape, z = arrays[self._pos].shape, arrays[self._z].shape
        if len(shape) != 3 or shape[2] != 3 or z not in (shape[1:2], shape[:2]):
            raise ValueError(f"{path}: expected {self._pos} [F, n, 3] and {self._z} [n] or [F, n], got {shape} and {z}")
        for name in labels:
            if name in arrays and len(np.atleast_1d(arrays[name])) != shape[0]:
                raise ValueError(f"{path}: expected {shape[0]} frames in {name}, got shape {arrays[name].shape}")
        self._length = shape[0]
        texts = {name: _text(value) for name, value in arrays.items() if value.dtype.kind in "US" and value.size == 1}
        self._general_units, self._label_units = stated_units(texts)
        self._labels = [
            name
            for name, value in arrays.items()
            if value.dtype.kind in "fiub" and value.shape[:1] == shape[:1] and name not in (self._pos, self._z)
        ]

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_content": None}  # every process loads the file itself

    def read(self, index: int) -> Frame:
        arrays = self._arrays()
        z = arrays[self._z] if arrays[self._z].ndim == 1 else arrays[self._z][index]
        n = int(np.flatnonzero(z)[-1]) + 1 if z.any() else 0
        if n < len(z) and arrays[self._z].ndim == 1:
            n = len(z)  # the same for all frames: nothing is filled up
        if z.dtype.kind not in "iu" and (z != np.round(z)).any():
            raise FrameProblem("unknown elements", f"expected atomic numbers, got {z.tolist()}")
        values = {name: arrays[name][index] for name in self._labels}
        lattice = arrays.get("lattice")
        return Frame(
            numbers=z[:n],
            positions=arrays[self._pos][index][:n],
            cell=None if lattice is None else lattice.T,  # sGDML's cell vectors are columns
            pbc=None if lattice is None else np.ones(3, dtype=bool),
            by_shape={name: self._cut(value, len(z), n) for name, value in values.items()},
            units=self._general_units,
            label_units=self._label_units,
        )

    @staticmethod
    def _cut(value: np.ndarray, padded: int, n: int) -> np.ndarray:
        return value[:n] if value.shape[:1] == (padded,) and n < padded else value

    def _arrays(self) -> dict[str, np.ndarray]:
        if self._content is None:
            try:
                with np.load(self.path, allow_pickle=False) as archive:
                    self._content = dict(_plain_arrays(archive))
            except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, AttributeError) as error:
                raise ValueError(f"{self.path}: expected a NumPy archive (.npz), but got {error!r}") from error
        return self._content


def _plain_arrays(archive: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of numbers and texts; pickled objects are never loaded, and no layout needs them."""
    for name in archive.files:
        try:
            array = archive[name]
        except ValueError as error:
            if "pickle" not in str(error):
                raise
            continue
        yield name, array


def _text(array: np.ndarray) -> str:
    """A text of sGDML, which may be stored as bytes."""
    value = array.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
