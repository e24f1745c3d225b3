"""Bonds as neighbours: paths along them, and a number of them drawn at random."""

import torch
from torch import Tensor

from .inputs import check_count


def check_bonds(bonds: Tensor, num_nodes: int, batch: Tensor | None = None) -> None:
    """Check that `bonds` [2, M] are integers that name pairs of different nodes of one graph.

    Raises:
        ValueError: if they do not, with the first bond that is wrong.

    Example:
        >>> check_bonds(torch.tensor([[0], [1]]), 2)
    """
    if not isinstance(bonds, Tensor) or bonds.dim() != 2 or bonds.shape[0] != 2 or bonds.dtype != torch.int64:
        got = f"{list(bonds.shape)} of {bonds.dtype}" if isinstance(bonds, Tensor) else type(bonds).__name__
        raise ValueError(f"expected bonds of shape [2, M] and type int64, got {got}")
    outside = ((bonds < 0) | (bonds >= num_nodes)).any(dim=0)
    wrong = {f"nodes from 0 to {num_nodes - 1}": outside, "two different nodes": bonds[0] == bonds[1]}
    if batch is not None and not bool(outside.any()):
        wrong["nodes of one graph"] = batch[bonds[0]] != batch[bonds[1]]
    for expected, mask in wrong.items():
        if bool(mask.any()):
            first = int(mask.nonzero()[0])
            raise ValueError(f"expected bonds between {expected}, got {bonds[:, first].tolist()} as number {first}")


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
def n_hop_adjacency(edge_index: Tensor, num_nodes: int, hops: int) -> tuple[Tensor, Tensor]:
    r"""Return the pairs of nodes that a path of at most `hops` edges connects, and the length of the shortest one.

    .. math:: \{(j, i, h) : j \neq i,\; h = \min\{n \geq 1 : (A^n)_{ij} > 0\} \leq \mathrm{hops}\}

    Paths follow the direction of the edges, from source to target. Time and memory grow with the paths that are
    found, not with the pairs of nodes.

    Args:
        edge_index: [2, M], int64; the same edge may be there more than once.
        num_nodes: number of nodes.
        hops: longest path.

    Returns:
        Edges [2, E], sorted by target and then by source, and their number of hops [E], from 1.

    Raises:
        ValueError: if an argument has the wrong shape, type or range, or an edge starts where it ends.

    Example:
        >>> n_hop_adjacency(torch.tensor([[0, 1], [1, 2]]), num_nodes=3, hops=2)
        (tensor([[0, 0, 1],
                [1, 2, 2]]), tensor([1, 2, 1]))
    """
    hops = check_count(hops, "hops", "the longest path")
    check_bonds(edge_index, num_nodes)
    order = edge_index[0].argsort(stable=True)
    starts, ends = edge_index[0][order].contiguous(), edge_index[1][order]
    degree = torch.bincount(starts, minlength=num_nodes)
    first = degree.cumsum(0) - degree
    # A pair is one number, target · num_nodes + source, in sorted lists.
    newest = known = (edge_index[1] * num_nodes + edge_index[0]).unique()
    hop = torch.ones_like(known)
    for length in range(2, hops + 1):
        middle, source = newest // num_nodes, newest % num_nodes
        count = degree[middle]
        # The edges that leave the end of each path, one after the other.
        place = torch.arange(int(count.sum()), device=count.device)
        place = place - (count.cumsum(0) - count - first[middle]).repeat_interleave(count)
        source, target = source.repeat_interleave(count), ends[place]
        longer = (target * num_nodes + source)[target != source].unique()
        newest = longer[~_among(longer, known)]
        if newest.numel() == 0:
            break
        known, order = torch.cat([known, newest]).sort()
        hop = torch.cat([hop, torch.full_like(newest, length)])[order]
    return torch.stack([known % num_nodes, known // num_nodes]) if num_nodes else edge_index, hop


def sample_bonds(edge_index: Tensor, max_neighbors: int, generator: torch.Generator | None = None) -> Tensor:
    """Return a mask [E] of at most `max_neighbors` edges of each target, drawn at random, each as likely.

    The sum of its complement is the number of edges that are left out.

    Args:
        edge_index: [2, E], int64, in any order.
        max_neighbors: edges kept per target.
        generator: of the random numbers; None: PyTorch's own.

    Raises:
        ValueError: if `max_neighbors` is not an integer ≥ 1.

    Example:
        >>> kept = sample_bonds(torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]]), max_neighbors=2)
        >>> int(kept[:3].sum()), bool(kept[3])
        (2, True)
    """
    limit = check_count(max_neighbors, "max_neighbors", "edges kept per target")
    target = edge_index[1]
    device = target.device if generator is None else generator.device
    order = torch.randperm(target.shape[0], generator=generator, device=device).to(target.device)
    order = order[target[order].argsort(stable=True)]  # by target, then as drawn
    ordered = target[order]
    place = torch.arange(target.shape[0], device=target.device) - torch.searchsorted(ordered, ordered)
    kept = torch.empty_like(target, dtype=torch.bool)
    kept[order] = place < limit
    return kept


def _among(values: Tensor, known: Tensor) -> Tensor:
    """Return which values are in the list `known`, sorted and not empty."""
    return known[torch.searchsorted(known, values).clamp(max=known.shape[0] - 1)] == values
