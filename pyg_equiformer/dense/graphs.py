"""From dense tensors with a mask to the edges of a sparse graph."""

from typing import NamedTuple

import torch
from torch import Tensor


class DenseEdges(NamedTuple):
    """Edges among the atoms that a mask leaves, numbered from 0 through the whole batch.

    Attributes:
        edge_index: source and target [2, E], by target, sources in order.
        graph, source, target: the place of each edge in dense tensors [batch, atoms, atoms], [E] each.
    """

    edge_index: Tensor
    graph: Tensor
    source: Tensor
    target: Tensor

    def pick(self, pairs: Tensor) -> Tensor:
        """Return the entries of a tensor of pairs [batch, target, source, …] that belong to the edges [E, …]."""
        return pairs[self.graph, self.target, self.source]


def dense_edges(
    coors: Tensor, mask: Tensor, num_neighbors: int | None = None, bonds: Tensor | None = None
) -> DenseEdges:
    """Return an edge from every other atom of the same entry of the batch, or from the nearest and the bonded ones.

    Args:
        coors: positions [B, N, 3].
        mask: which atoms are there [B, N], bool.
        num_neighbors: how many of the nearest atoms each atom sees; of equally near ones those of lower number. None:
            all of them.
        bonds: which pairs are bonded [B, N, N], bool; they see each other however far they are.

    Example:
        >>> coors = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [9, 0, 0]]])
        >>> dense_edges(coors, torch.tensor([[True, True, True, False]]), num_neighbors=1).edge_index
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """
    num_atoms = coors.shape[1]
    pairs = mask.unsqueeze(2) & mask.unsqueeze(1)
    pairs = pairs & ~torch.eye(num_atoms, dtype=torch.bool, device=coors.device)
    if num_neighbors is not None and num_neighbors < num_atoms - 1:
        near = _nearest(coors.detach(), pairs, num_neighbors)
        pairs = near if bonds is None else near | (bonds & pairs)
    graph, target, source = pairs.nonzero(as_tuple=True)
    number = mask.flatten().cumsum(0).view_as(mask) - 1
    return DenseEdges(torch.stack([number[graph, source], number[graph, target]]), graph, source, target)


def _nearest(coors: Tensor, pairs: Tensor, num_neighbors: int) -> Tensor:
    """Return which of the pairs [B, target, source] are among the nearest of the target."""
    # What is not there may hold anything, NaN included.
    coors = coors.masked_fill(~pairs.any(2, keepdim=True), 0.0)
    square = (coors.unsqueeze(2) - coors.unsqueeze(1)).square().sum(3).masked_fill(~pairs, torch.inf)
    order = square.argsort(dim=2, stable=True)[:, :, :num_neighbors]
    return torch.zeros_like(pairs).scatter(2, order, True) & pairs
