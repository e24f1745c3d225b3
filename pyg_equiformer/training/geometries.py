"""Structures on their way into a model that is not trained: neighbours, labels, batches."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data

from .. import keys
from ..data import RadiusGraph
from ..data.structure_sets import Target
from ..data.transforms import stored_edges

#: Axes of a label of each kind behind the first one, which counts structures or atoms.
SHAPES: dict[str, tuple[int, ...]] = {
    "graph_scalar": (),
    "graph_vector": (3,),
    "graph_tensor": (3, 3),
    "node_scalar": (),
    "node_vector": (3,),
}

#: What a model is told of a structure.
GEOMETRY = (
    keys.Z,
    keys.POS,
    keys.CELL,
    keys.PBC,
    keys.RADIUS_EDGE_INDEX,
    keys.RADIUS_CUTOFF,
    keys.RADIUS_EDGE_SHIFT,
    keys.NEIGHBOR_EDGE_INDEX,
    keys.NEIGHBOR_EDGE_TYPE,
    keys.NODE_POSITION,
    keys.NODE_ATTR,
)

#: Geometry and labels of a structure.
Item = tuple[dict[str, np.ndarray], dict[str, np.ndarray | None]]


class Geometries(Dataset):
    """Structures with neighbours, and their labels, as arrays; what reads from disk does so in the worker.

    Args:
        structures: `Data` with `z`, `pos` and perhaps a cell, stored neighbours and labels.
        targets: labels to take along.
        cutoff: in Å, for structures without stored neighbours.
    """

    def __init__(self, structures: Sequence[Data], targets: tuple[Target, ...], cutoff: float) -> None:
        self.structures, self.targets = structures, targets
        self.add_neighbors = RadiusGraph(cutoff)

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, index: int) -> Item:
        structure = self.structures[index]
        # Other fields would only have to collate, and need not.
        geometry = Data(**{name: structure[name] for name in GEOMETRY if structure.get(name) is not None})
        if stored_edges(geometry) is None:
            try:
                geometry = self.add_neighbors(geometry)
            except ValueError as error:
                raise ValueError(f"structure {index}: {error}") from None
        count = geometry[keys.Z].numel()
        labels = {t.name: _label(structure, t, count, f"structure {index}") for t in self.targets}
        # Arrays, because each tensor that a worker sends holds a file open.
        return {name: value.detach().cpu().numpy() for name, value in geometry.to_dict().items()}, labels


def _label(structure: Data, target: Target, num_atoms: int, where: str) -> np.ndarray | None:
    """The label with its leading axis, as float64; None if the structure has none."""
    value = structure.get(target.name)
    if value is None:
        return None
    shape = (num_atoms if target.per_atom else 1, *SHAPES[target.kind])
    found = value.detach() if isinstance(value, Tensor) else torch.as_tensor(value)
    # [n, 1] for a scalar per atom is common, too.
    if found.numel() != int(np.prod(shape)):
        raise ValueError(f"{where}: expected {target.name} of shape {shape}, got {tuple(found.shape)}")
    return found.double().cpu().numpy().reshape(shape)


def geometry_batches(
    geometries: Geometries, batch_size: int, max_edges: int | None, workers: int
) -> Iterator[list[Item]]:
    """Cut the stream of structures into batches, order kept, with at most `max_edges` edges if there are several."""
    # A generator of its own: the loader would draw a seed from the global one, and change later random numbers.
    loader = DataLoader(geometries, batch_size, collate_fn=list, num_workers=workers, generator=torch.Generator())
    batch: list[Item] = []
    edges = 0
    for item in (item for chunk in loader for item in chunk):
        size = stored_edges(item[0]).shape[1]
        if batch and (len(batch) == batch_size or (max_edges is not None and edges + size > max_edges)):
            yield batch
            batch, edges = [], 0
        batch.append(item)
        edges += size
    yield batch


def collate_geometries(geometries: list[dict[str, np.ndarray]], dtype: torch.dtype) -> Data:
    """Join structures; where only some are periodic, the others get an empty cell, so that fields agree."""
    structures = [Data(**{name: torch.from_numpy(value) for name, value in g.items()}) for g in geometries]
    if any(name in g for g in geometries for name in (keys.CELL, keys.RADIUS_EDGE_SHIFT)):
        for each in structures:
            edges = stored_edges(each).shape[1]
            for name, empty in (
                (keys.CELL, torch.zeros(1, 3, 3)),
                (keys.PBC, torch.zeros(1, 3, dtype=torch.bool)),
                (keys.RADIUS_EDGE_SHIFT, torch.zeros(edges, 3)),
            ):
                if each.get(name) is None:
                    each[name] = empty
    for each in structures:
        for name in (keys.POS, keys.CELL, keys.RADIUS_EDGE_SHIFT, keys.NODE_ATTR):
            if each.get(name) is not None:
                each[name] = each[name].to(dtype)
    return Batch.from_data_list(structures)
