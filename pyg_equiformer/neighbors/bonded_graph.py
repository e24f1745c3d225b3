"""`bonded_graph`: neighbours by bonds, and the nearest besides."""

from typing import NamedTuple

import torch
from torch import Tensor

from .bonds import check_bonds, n_hop_adjacency, sample_bonds
from .inputs import check_batch, check_positions
from .knn_graph import knn_graph
from .radius_graph import radius_graph


class BondedEdges(NamedTuple):
    """Neighbours by bonds and by distance.

    Attributes:
        edge_index: [2, E], int64, sorted by target and then by source.
        edge_type: [E], int64: how many bonds lie between the two atoms, 0 if more than the hops that were asked for.
        left_out: number of pairs within those hops that `max_bonds` left out.
    """

    edge_index: Tensor
    edge_type: Tensor
    left_out: int


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
@torch.no_grad()
def bonded_graph(
    pos: Tensor,
    bonds: Tensor,
    k: int | None = None,
    batch: Tensor | None = None,
    *,
    cutoff: float | None = None,
    hops: int = 1,
    max_bonds: int | None = None,
    generator: torch.Generator | None = None,
) -> BondedEdges:
    """Connect atoms that are bonded, or up to `hops` bonds apart, and those that are near besides.

    Bonds count in both directions, in whichever they are given. Near are the `k` nearest (`knn_graph`), all nearer
    than the `cutoff` (`radius_graph`), or the `k` nearest of those; nothing but the bonds counts without either.
    Bonds longer than the cutoff stay; the smooth envelope of a model gives edges no weight beyond its own cutoff.

    Args:
        pos: positions [N, 3] in Å, float32 or float64.
        bonds: pairs of atoms [2, M], int64; the same bond may be there more than once.
        k: nearest neighbours of each atom; None: see above.
        batch: graph of each atom [N], integers ≥ 0 in any order; None for one graph.
        cutoff: in Å, of the near atoms; None: see above.
        hops: bonds between neighbours at most.
        max_bonds: of the neighbours by bonds, only this many are drawn for each atom at random, beside those that
            are near anyway; the graph is then no longer symmetric. None: all.
        generator: of the random numbers; None: PyTorch's own.

    Raises:
        ValueError: if an argument has the wrong shape, type or range, a position is not finite, or a bond does not
            lie between two different atoms of one graph.

    Example:
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.4, 0.0], [9.0, 0.0, 0.0]])
        >>> edges = bonded_graph(pos, torch.tensor([[0, 1], [1, 2]]), k=1, hops=2)
        >>> edges.edge_index
        tensor([[1, 2, 0, 2, 0, 1, 2],
                [0, 0, 1, 1, 2, 2, 3]])
        >>> edges.edge_type
        tensor([1, 2, 1, 1, 2, 1, 0])
    """
    pos = check_positions(pos)
    if batch is not None:
        check_batch(batch, pos)
    check_bonds(bonds, pos.shape[0], batch)
    bonded, hop = n_hop_adjacency(torch.cat([bonds, bonds.flip(0)], dim=1), pos.shape[0], hops)
    drawn = bonded if max_bonds is None else bonded[:, sample_bonds(bonded, max_bonds, generator)]
    near = bonds.new_empty(2, 0)
    if k is not None:
        near = knn_graph(pos, k, batch, cutoff)
    elif cutoff is not None:
        near = radius_graph(pos, cutoff, batch)
    # A pair is one number, target · N + source, in a sorted list.
    atoms = max(pos.shape[0], 1)
    pairs = torch.cat([_number(drawn, atoms), _number(near, atoms)]).unique()
    known = _number(bonded, atoms)
    edge_type = torch.zeros_like(pairs)
    place = torch.searchsorted(pairs, known).clamp(max=max(pairs.shape[0] - 1, 0))
    there = pairs[place] == known if pairs.numel() else torch.zeros_like(known, dtype=torch.bool)
    edge_type[place[there]] = hop[there]
    return BondedEdges(torch.stack([pairs % atoms, pairs // atoms]), edge_type, int((~there).sum()))


def _number(edge_index: Tensor, atoms: int) -> Tensor:
    return edge_index[1] * atoms + edge_index[0]
