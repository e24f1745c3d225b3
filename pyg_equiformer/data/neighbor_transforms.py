"""Transforms that choose neighbours by rank or by bonds, where a cutoff alone is not what is wanted."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from pyg_equiformer import keys
from pyg_equiformer.neighbors import BondedEdges, bonded_graph, knn_graph
from pyg_equiformer.neighbors.inputs import check_count, check_cutoff


class _NeighborTransform(BaseTransform):
    """Stores edges in the fields that an `Equiformer` takes in place of its own search."""

    def forward(self, data: Data) -> Data:
        """Return the data with its edges; called on a copy, so the caller's data is left alone."""
        name = type(self).__name__
        if not isinstance(data, Data):
            raise ValueError(f"expected a torch_geometric Data or Batch, got {type(data).__name__}")
        if data.get(keys.POS) is None:
            raise ValueError(f"expected data with positions {keys.POS!r} [N, 3], got fields {data.keys()}")
        if data.get(keys.RADIUS_EDGE_INDEX) is not None:
            raise ValueError(f"data has neighbours from RadiusGraph already: apply either RadiusGraph or {name}")
        pbc = data.get(keys.PBC)
        if pbc is not None and bool(pbc.any()):
            raise ValueError(f"{name} knows no periodic images: use RadiusGraph(r, max_num_neighbors=k) for crystals")
        self._store(data, data[keys.POS], data.get(keys.BATCH))
        return data

    @abstractmethod
    def _store(self, data: Data, pos: Tensor, batch: Tensor | None) -> None:
        """Find the edges and put them into the data."""


class KNNGraph(_NeighborTransform):
    """Store the k nearest atoms of each atom, which a model takes as its neighbours; see `knn_graph`.

    The edges go to `data.neighbor_edge_index` [2, E]; `data.edge_index`, which holds the chemical bonds in many data
    sets, stays as it is. In a PyG `Batch` the edges are those of the whole batch, in the same order. Apply it after
    any transform that moves, removes or reorders atoms.

    Args:
        k: neighbours of each atom.
        r: in Å; if given, neighbours are strictly nearer too.

    Raises:
        ValueError: if `k` or `r` is out of range; when applied, if the data has no valid positions, is periodic, or
            has neighbours from `RadiusGraph`.

    Example:
        >>> from torch_geometric.data import Data
        >>> data = KNNGraph(k=1)(Data(pos=torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])))
        >>> data.neighbor_edge_index
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """

    def __init__(self, k: int, r: float | None = None) -> None:
        self.k = check_count(k, "k", "neighbours of each atom")
        self.r = None if r is None else check_cutoff(r)

    def _store(self, data: Data, pos: Tensor, batch: Tensor | None) -> None:
        data[keys.NEIGHBOR_EDGE_INDEX] = knn_graph(pos, self.k, batch, self.r)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, r={self.r})"


class BondGraph(_NeighborTransform):
    """Store the atoms within a few bonds, and those that are near besides, as neighbours with types.

    The edges go to `data.neighbor_edge_index` [2, E], the number of bonds in between (0: more than `hops`) to
    `data.neighbor_edge_type` [E], which a model with `num_edge_types=hops + 1` embeds, and the number of pairs that
    `max_bonds` left out to `data.left_out_bonds` [1]. See `bonded_graph`.

    Args:
        k: nearest neighbours of each atom; None: all nearer than `r`, or bonds alone without it.
        r: cutoff of the near atoms in Å; None: none.
        hops: bonds between neighbours at most.
        max_bonds: neighbours by bonds drawn at random for each atom; None: all.
        bonds: field with the bonds [2, M], in one direction or both.
        generator: of the random numbers; None: PyTorch's own.

    Raises:
        ValueError: if a number is out of range; when applied, if the data has no valid positions or bonds, is
            periodic, or has neighbours from `RadiusGraph`.

    Example:
        >>> from torch_geometric.data import Data
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.4, 0.0]])
        >>> data = BondGraph(hops=2)(Data(pos=pos, edge_index=torch.tensor([[0, 1], [1, 2]])))
        >>> data.neighbor_edge_type
        tensor([1, 2, 1, 1, 2, 1])
    """

    def __init__(
        self,
        k: int | None = None,
        r: float | None = None,
        *,
        hops: int = 1,
        max_bonds: int | None = None,
        bonds: str = "edge_index",
        generator: torch.Generator | None = None,
    ) -> None:
        self.k = None if k is None else check_count(k, "k", "nearest neighbours of each atom")
        self.r = None if r is None else check_cutoff(r)
        self.hops = check_count(hops, "hops", "bonds between neighbours")
        self.max_bonds = None if max_bonds is None else check_count(max_bonds, "max_bonds", "bonds drawn per atom")
        self.bonds, self.generator = bonds, generator

    def _store(self, data: Data, pos: Tensor, batch: Tensor | None) -> None:
        bonds = data.get(self.bonds)
        if bonds is None:
            raise ValueError(
                f"expected data with bonds {self.bonds!r} [2, M], got fields {data.keys()}; name another field with "
                "bonds=, or use KNNGraph"
            )
        edges: BondedEdges = bonded_graph(
            pos,
            bonds,
            self.k,
            batch,
            cutoff=self.r,
            hops=self.hops,
            max_bonds=self.max_bonds,
            generator=self.generator,
        )
        data[keys.NEIGHBOR_EDGE_INDEX], data[keys.NEIGHBOR_EDGE_TYPE] = edges.edge_index, edges.edge_type
        data[keys.LEFT_OUT_BONDS] = torch.tensor([edges.left_out], device=pos.device)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(k={self.k}, r={self.r}, hops={self.hops}, max_bonds={self.max_bonds}, "
            f"bonds={self.bonds!r})"
        )
