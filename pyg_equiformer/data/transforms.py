"""Transforms of PyG data sets."""

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from pyg_equiformer import keys
from pyg_equiformer.neighbors import radius_graph
from pyg_equiformer.neighbors.inputs import check_cutoff, check_max_num_neighbors


class RadiusGraph(BaseTransform):
    """Store the neighbours within a cutoff in the data, so that they are found once and not in every epoch.

    The edges go to `data.radius_edge_index` [2, E] and the cutoff to `data.radius_cutoff` [1], float64;
    `data.edge_index`, which holds the chemical bonds in many data sets, stays as it is. In a PyG `Batch` the
    edges are those of `radius_graph(batch.pos, r, batch.batch, max_num_neighbors)`, in the same order. As a
    `pre_transform` the edges are computed once and saved with the data set. Apply it after any transform
    that moves, removes or reorders atoms.

    Args:
        r: cutoff in Å.
        max_num_neighbors: nearest sources kept per target; all by default.

    Raises:
        ValueError: if `r` or `max_num_neighbors` is out of range; when applied, if the data has no valid
            positions.

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
        pos, batch = data[keys.POS], data.get(keys.BATCH)
        data[keys.RADIUS_EDGE_INDEX] = radius_graph(pos, self.r, batch, self.max_num_neighbors)
        data[keys.RADIUS_CUTOFF] = torch.full((_num_graphs(data),), self.r, dtype=torch.float64, device=pos.device)
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
