"""Transforms of PyG data sets."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from pyg_equiformer import keys
from pyg_equiformer.neighbors import check_apart, periodic_radius_graph, radius_graph
from pyg_equiformer.neighbors.inputs import check_cutoff, check_max_num_neighbors


def stored_edges(data: Any) -> Any:
    """Return the edges [2, E] that a transform has stored in data, or a dict of its fields; None if there are none."""
    chosen = data.get(keys.NEIGHBOR_EDGE_INDEX)
    return data.get(keys.RADIUS_EDGE_INDEX) if chosen is None else chosen


class RadiusGraph(BaseTransform):
    """Store the neighbours within a cutoff in the data, so that they are found once and not in every epoch.

    The edges go to `data.radius_edge_index` [2, E] and the cutoff to `data.radius_cutoff` [1], float64;
    `data.edge_index`, which holds the chemical bonds in many data sets, stays as it is. In a PyG `Batch` the
    edges are those of `radius_graph(batch.pos, r, batch.batch, max_num_neighbors)`, in the same order. As a
    `pre_transform` the edges are computed once and saved with the data set. Apply it after any transform
    that moves, removes or reorders atoms.

    Structures that are periodic (`data.cell` [1, 3, 3] in Å and `data.pbc` [1, 3]) get their neighbours in other
    cells too, as `periodic_radius_graph` finds them, and `data.radius_edge_shift` [E, 3] in Å beside the edges.
    So do other structures that carry either field, with shifts of zero, so that mixed sets can be batched.

    Args:
        r: cutoff in Å.
        max_num_neighbors: nearest sources kept per target; all by default.

    Raises:
        ValueError: if `r` or `max_num_neighbors` is out of range; when applied, if the data has no valid
            positions or neighbours chosen by another transform, cell and pbc do not fit together, or
            an atom of a periodic structure is there twice.

    Example:
        >>> from torch_geometric.data import Batch, Data
        >>> transform = RadiusGraph(r=1.5)
        >>> pair = transform(Data(pos=torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])))
        >>> Batch.from_data_list([pair, pair]).radius_edge_index
        tensor([[1, 0, 3, 2],
                [0, 1, 2, 3]])
    """

    def __init__(self, r: float, max_num_neighbors: int | None = None) -> None:
        self.r = check_cutoff(r)
        self.max_num_neighbors = check_max_num_neighbors(max_num_neighbors)

    def forward(self, data: Data) -> Data:
        """Return the data with its edges; called on a copy, so the caller's data is left alone."""
        if not isinstance(data, Data):
            raise ValueError(f"expected a torch_geometric Data or Batch, got {type(data).__name__}")
        if data.get(keys.POS) is None:
            raise ValueError(f"expected data with positions {keys.POS!r} [N, 3], got fields {data.keys()}")
        if data.get(keys.NEIGHBOR_EDGE_INDEX) is not None:
            raise ValueError(
                f"data has neighbours that were chosen otherwise ({keys.NEIGHBOR_EDGE_INDEX!r}), by KNNGraph or "
                "BondGraph: apply one of these transforms or RadiusGraph"
            )
        pos, batch = data[keys.POS], data.get(keys.BATCH)
        num_graphs = _num_graphs(data)
        periodic = _periodic(data, num_graphs)
        if periodic is None or not bool(periodic[1].any()):
            edge_index = radius_graph(pos, self.r, batch, self.max_num_neighbors)
            shift = pos.new_zeros(edge_index.shape[1], 3)
        else:
            edge_index, shift = periodic_radius_graph(pos, self.r, *periodic, self.max_num_neighbors, batch)
            check_apart(pos, edge_index, shift)
        data[keys.RADIUS_EDGE_INDEX] = edge_index
        if periodic is not None:
            data[keys.RADIUS_EDGE_SHIFT] = shift
        data[keys.RADIUS_CUTOFF] = torch.full((num_graphs,), self.r, dtype=torch.float64, device=pos.device)
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(r={self.r}, max_num_neighbors={self.max_num_neighbors})"


def _num_graphs(data: Data) -> int:
    if isinstance(data, Batch):
        return data.num_graphs  # counts graphs without atoms, too
    batch = data.get(keys.BATCH)
    if batch is None:
        return 1
    return int(batch.max()) + 1 if batch.numel() > 0 else 0


def _periodic(data: Data, num_graphs: int) -> tuple[Tensor, Tensor] | None:
    """Return cell [B, 3, 3] and pbc [B, 3], checked; None for data with neither."""
    cell, pbc = data.get(keys.CELL), data.get(keys.PBC)
    if cell is None and pbc is None:
        return None
    pos = data[keys.POS]
    if pbc is None:
        if bool((cell != 0).any()):
            raise ValueError(
                "data has a cell but no pbc: set data.pbc, a bool tensor [1, 3] that says along which cell vectors the "
                "structure repeats (all False for a molecule in a box)"
            )
        pbc = torch.zeros(num_graphs, 3, dtype=torch.bool, device=pos.device)
    if cell is None:
        if bool(pbc.any()):
            raise ValueError(
                "data has pbc but no cell: set data.cell, a tensor [1, 3, 3] in Å whose rows are its vectors"
            )
        cell = pos.new_zeros(num_graphs, 3, 3)
    for name, value, shape in ((keys.CELL, cell, (num_graphs, 3, 3)), (keys.PBC, pbc, (num_graphs, 3))):
        if value.shape != shape:
            raise ValueError(f"expected {name} of shape {list(shape)}, got {list(value.shape)}")
    return cell, pbc
