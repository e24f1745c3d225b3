"""PyG's on-disk data sets, and any other data set of `Data`, as structures to train on."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch_geometric.data import Data, OnDiskDataset

from .. import keys
from .structure_sets import StructureSet, Target


def wrap_dataset(dataset: Any, targets: Sequence[Target], name: str = "data") -> StructureSet:
    """Return a data set of `Data` as a `StructureSet` that reads from it one structure at a time.

    Nothing is converted: positions are in Å and labels in the units of the targets. Every item is checked for its
    shapes when it is read, the first one at once; other fields than those of the structure and the targets are
    not handed on.

    Args:
        dataset: anything with `len(dataset)` and `dataset[index]`, a `torch_geometric.data.OnDiskDataset` say.
        targets: the labels, each a field of the `Data`.
        name: short name for folders and titles.

    Raises:
        ValueError: if it is empty, or its first item lacks a field or has one of another shape.

    Example:
        >>> water = Data(z=torch.tensor([8, 1, 1]), pos=torch.rand(3, 3), gap=torch.tensor([12.5]), y=None)
        >>> wrap_dataset([water], [Target("gap", "graph_scalar", "eV")], "water").structures[0]
        Data(pos=[3, 3], z=[3], gap=[1])
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ValueError(f"dataset: expected len(dataset) and dataset[index], got {type(dataset).__name__}")
    if len(dataset) == 0:
        raise ValueError(f"dataset: expected at least one structure, got an empty {type(dataset).__name__}")
    view = DatasetView(dataset, tuple(targets))
    view[0]
    return StructureSet(view, tuple(targets), name, streamed=True)


class DatasetView(Sequence[Data]):
    """Items of a data set with the fields of the structure and the targets only.

    PyG's on-disk data sets hold a connection to a database, which neither a fork nor a pickle survives: every
    process opens its own.

    Args:
        dataset: map-style data set of `Data`.
        targets: the labels.

    Raises:
        ValueError: when an item is asked for, if it lacks a field or has one of another shape.
    """

    def __init__(self, dataset: Any, targets: tuple[Target, ...]) -> None:
        self._dataset, self._targets, self._process = dataset, targets, os.getpid()

    def __len__(self) -> int:
        return len(self._dataset)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": _without_connection(self._dataset)}

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Data]: ...
    def __getitem__(self, index: int | slice) -> Data | Sequence[Data]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected -{len(self)} to {len(self) - 1}, got {index}")
        if self._process != os.getpid():
            self._dataset, self._process = _without_connection(self._dataset), os.getpid()
        index = index % len(self)
        return _fields(self._dataset[index], self._targets, f"item {index} of {type(self._dataset).__name__}")


def _without_connection(dataset: Any) -> Any:
    if not isinstance(dataset, OnDiskDataset):
        return dataset
    apart = copy.copy(dataset)
    apart._db = None  # opened at the next access
    return apart


def _fields(item: Any, targets: tuple[Target, ...], where: str) -> Data:
    if not isinstance(item, Data):
        raise ValueError(f"{where}: expected a torch_geometric Data, got {type(item).__name__}")
    fields: dict[str, Tensor] = {}
    z = item.get(keys.Z)
    n = len(z) if isinstance(z, Tensor) else 0
    shapes: dict[str, tuple[int, ...]] = {keys.Z: (n,), keys.POS: (n, 3)}
    if item.get(keys.CELL) is not None or item.get(keys.PBC) is not None:
        shapes |= {keys.CELL: (1, 3, 3), keys.PBC: (1, 3)}
    kinds = {
        "graph_scalar": (1,),
        "graph_vector": (1, 3),
        "graph_tensor": (1, 3, 3),
        "node_scalar": (n,),
        "node_vector": (n, 3),
    }
    shapes |= {target.name: kinds[target.kind] for target in targets}
    for name, shape in shapes.items():
        value = item.get(name)
        if not isinstance(value, Tensor):
            raise ValueError(f"{where}: expected {name} as a tensor of shape {shape}, found only {item.keys()}")
        if value.shape != shape and value.squeeze().shape != torch.Size(x for x in shape if x != 1):
            raise ValueError(f"{where}: expected {name} of shape {shape}, got {tuple(value.shape)}")
        fields[name] = value.reshape(shape)
    if n == 0 or fields[keys.Z].dtype != torch.int64:
        raise ValueError(f"{where}: expected atomic numbers z [n] int64 of at least one atom, got {z}")
    return Data(**fields)
