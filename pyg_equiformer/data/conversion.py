"""From a frame of a file to a `Data` in eV and Å, with everything checked on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from .. import keys
from .frames import Frame, FrameProblem, FrameSource, located
from .label_units import energy_factor, label_factor, length_factor
from .labels import Label, general_units, specific_unit
from .read_options import ReadOptions
from .structure_sets import TargetKind

HEAVIEST = 118
_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  #: places of ASE's xx, yy, zz, yz, xz, xy in the tensor


class FrameConverter:
    """Read frames of a source and bring them to eV and Å, float64 throughout.

    Args:
        source: of the frames.
        labels: to read.
        options: of the user.
    """

    def __init__(self, source: FrameSource, labels: tuple[Label, ...], options: ReadOptions) -> None:
        self.source, self.labels, self.options = source, labels, options

    def read(self, index: int) -> tuple[Frame, dict[str, np.ndarray]]:
        """Return the frame and its arrays by field of the `Data`; a `FrameProblem` where it is not in order."""
        frame = self.source.read(index)
        energy, length = general_units(frame, self.source, self.options)
        with _understood_units():
            factor = length_factor(length)
        arrays = _geometry(frame, factor)
        for label in self.labels:
            arrays[label.target.name] = self._label(label, frame, energy, length, arrays)
        return frame, arrays

    def data(self, index: int, periodic: bool) -> Data:
        """Return one structure; a ValueError that says where and what where it is not in order."""
        try:
            return self.to_data(self.read(index)[1], periodic)
        except FrameProblem as problem:
            raise located(self.source, index, problem) from problem

    def to_data(self, arrays: Mapping[str, np.ndarray], periodic: bool) -> Data:
        """Return arrays as `Data`; `periodic` sets carry the cell in every structure, so that batches collate."""
        fields: dict[str, Any] = {
            keys.Z: torch.from_numpy(arrays[keys.Z]),
            keys.POS: torch.from_numpy(arrays[keys.POS]).to(self.options.dtype),
        }
        if periodic:
            fields[keys.CELL] = torch.from_numpy(arrays[keys.CELL]).to(self.options.dtype)[None]
            fields[keys.PBC] = torch.from_numpy(arrays[keys.PBC])[None]
        for label in self.labels:
            value = torch.from_numpy(arrays[label.target.name])
            if label.target.kind == "graph_scalar":
                fields[label.target.name] = value.reshape(1)
            else:
                value = value.to(self.options.dtype)
                fields[label.target.name] = value if label.target.per_atom else value[None]
        return Data(**fields)

    def _label(
        self, label: Label, frame: Frame, energy: str, length: str, arrays: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        name, value = label.target.name, label.find(frame)
        shape = _shape(label.target.kind, len(frame.numbers))
        if value is None:
            return self._missing(label, frame, shape)
        array = _numbers(label, value, shape)
        if not np.isfinite(array).all():
            if self.options.missing_labels == "mask" and np.isnan(array).all():
                return np.full(shape, np.nan)
            raise FrameProblem(
                "numbers that are not finite", f"{label.field} are not all finite numbers: {_short(array)}"
            )
        if label.virial:
            with _understood_units():
                return -array * energy_factor(energy) / _volume(arrays, label.field)
        specific = specific_unit(name, label.field, frame, self.source, self.options)
        with _understood_units():
            factor, unit = label_factor(name, energy, length, specific)
        if unit != label.target.unit:
            raise ValueError(
                f"{self.source.path}: {label.field} is in {label.target.unit or 'no unit'} at first, later in "
                f"{unit or 'no unit'} ({frame.label_units.get(label.field)}); expected one unit for all frames"
            )
        return np.asarray(array * factor)

    def _missing(self, label: Label, frame: Frame, shape: tuple[int, ...]) -> np.ndarray:
        if self.options.missing_labels == "mask":
            return np.full(shape, np.nan)
        raise FrameProblem(
            f"no {label.field}",
            f"expected {label.field}, found only {frame.label_names() or 'positions'}",
            "missing_labels",
        )


@contextmanager
def _understood_units() -> Iterator[None]:
    try:
        yield
    except FrameProblem:
        raise
    except ValueError as error:
        raise FrameProblem("units that are not understood", str(error)) from error


def _geometry(frame: Frame, factor: float) -> dict[str, np.ndarray]:
    numbers, n = np.asarray(frame.numbers), len(frame.numbers)
    if n < 1:
        raise FrameProblem("no atoms", "expected at least one atom, got none")
    wrong = sorted({int(z) for z in numbers if not 1 <= z <= HEAVIEST})
    if wrong:
        raise FrameProblem(
            "unknown elements",
            f"expected chemical elements of atomic numbers 1 to {HEAVIEST}, got {wrong} (0 is the atom type 'X')",
        )
    pos = np.array(frame.positions, dtype=np.float64)
    cell = np.zeros((3, 3)) if frame.cell is None else np.array(frame.cell, dtype=np.float64)
    pbc = np.zeros(3, dtype=bool) if frame.pbc is None else np.array(frame.pbc, dtype=bool)
    for name, array in (("positions", pos), ("cell", cell)):
        if not np.isfinite(array).all():
            raise FrameProblem("numbers that are not finite", f"{name} are not all finite: {_short(array)}")
    if pbc.any() and np.linalg.matrix_rank(cell[pbc]) < pbc.sum():
        raise FrameProblem(
            "cells that do not span space", f"periodic along {pbc.tolist()}, but the cell is {cell.tolist()}"
        )
    return {keys.Z: numbers.astype(np.int64), keys.POS: pos * factor, keys.CELL: cell * factor, keys.PBC: pbc}


def _shape(kind: TargetKind, n: int) -> tuple[int, ...]:
    shapes: dict[TargetKind, tuple[int, ...]] = {
        "graph_scalar": (),
        "graph_vector": (3,),
        "graph_tensor": (3, 3),
        "node_scalar": (n,),
        "node_vector": (n, 3),
    }
    return shapes[kind]


def _numbers(label: Label, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FrameProblem("labels that are no numbers", f"expected {label.field} as numbers, got {value!r}") from error
    if label.target.kind == "graph_tensor":
        array = array[_VOIGT] if array.shape == (6,) else array.reshape(3, 3) if array.shape == (9,) else array
    elif array.size == int(np.prod(shape)) and array.squeeze().shape == np.empty(shape).squeeze().shape:
        array = array.reshape(shape)  # one number may stand in brackets
    if array.shape != shape:
        raise FrameProblem(
            "labels of another shape",
            f"expected {label.field} of shape {shape} ({label.target.kind}), got {array.shape}",
        )
    if label.target.kind == "graph_tensor":
        asymmetry = np.abs(array - array.T).max() if np.isfinite(array).all() else 0
        if asymmetry > 1e-3 * np.abs(array).max(initial=0, where=np.isfinite(array)):
            raise FrameProblem(
                "tensors that are not symmetric", f"expected {label.field} symmetric, got {array.tolist()}"
            )
        array = (array + array.T) / 2
    return array


def _volume(arrays: Mapping[str, np.ndarray], field: str) -> float:
    volume = abs(float(np.linalg.det(arrays[keys.CELL])))
    if volume < 1e-9:
        raise FrameProblem("virials without a cell", f"{field} over the volume are the stress, but there is no cell")
    return volume


def _short(array: np.ndarray) -> str:
    """The numbers, or the atoms where they are not finite if there are many."""
    if array.ndim < 2 or len(array) <= 4:
        return str(array.tolist())
    rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))
    return f"those of atoms {rows[:5].tolist()}{' and others' if len(rows) > 5 else ''}"


def fields_that_differ(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], names: Iterable[str]) -> str:
    """Names of the arrays that are not equal, NaN being equal to NaN."""
    return ", ".join(name for name in names if not np.array_equal(first[name], second[name], equal_nan=True))
