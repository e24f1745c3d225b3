"""`knn_graph`: the nearest atoms of each atom, however far."""

import math
from itertools import groupby

import torch
from torch import Tensor

from .dense import CPU_PAIRS, pairs_of, row_blocks, squared_distances
from .graphs import graph_by_graph
from .inputs import check_count, check_positions
from .libraries import has_vesin
from .pairs import nearest
from .radius_graph import radius_graph

#: Atoms in a graph from which a radius and cells are tried on the CPU.
CELLS_FROM = 2_000
#: Atoms at least whose neighbours tell the radius.
SAMPLE = 64
#: Pairs within that radius, as a multiple of those wanted, from which all distances need less memory.
MOST_PAIRS = 8


def knn_graph(pos: Tensor, k: int, batch: Tensor | None = None, cutoff: float | None = None) -> Tensor:
    r"""Connect each atom with the `k` nearest atoms of its graph.

    .. math:: \{(j, i) : j \in \operatorname{argmin}^{k}_{j \neq i}
        \left(\lVert \mathrm{pos}_j - \mathrm{pos}_i \rVert, j\right)\}

    Edges point to the atom that looks: j may be among the nearest of i without i being among those of j. At equal
    distance the lower index counts as nearer. An atom of a graph with k atoms or fewer gets all others. Which atoms
    are the nearest changes abruptly as they move, so energies on such graphs are not continuous, while forces are
    exact between the changes.

    Without a cutoff all distances within a graph are computed, in blocks of bounded memory: the time grows with the
    square of the atoms of a graph, the memory with their number. In large graphs on the CPU a radius that holds
    enough atoms for most is searched with vesin's cells (extra `train`), and only what remains by all distances,
    unless densities differ too much for that. With a cutoff, see `radius_graph`. No way changes the result.

    Args:
        pos: positions [N, 3] in Å, float32 or float64.
        k: neighbours of each atom.
        batch: graph of each atom [N], integers ≥ 0 in any order; None for one graph.
        cutoff: in Å; if given, neighbours are strictly nearer too.

    Returns:
        `edge_index` [2, E], int64, sorted by target and then by source; without gradients.

    Raises:
        ValueError: if an argument has the wrong shape, type or range, or a position is not finite.

    Example:
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
        >>> knn_graph(pos, k=1)
        tensor([[1, 0, 1],
                [0, 1, 2]])
    """
    k = check_count(k, "k", "neighbours of each atom")
    if cutoff is not None:
        return radius_graph(pos, cutoff, batch, max_num_neighbors=k)
    return _knn_graph(pos, k, batch)


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
@torch.no_grad()
def _knn_graph(pos: Tensor, k: int, batch: Tensor | None) -> Tensor:
    return graph_by_graph(check_positions(pos), batch, lambda xyz, sizes: _edges_of_sorted(xyz, sizes, k))


def _edges_of_sorted(pos: Tensor, sizes: list[int], k: int) -> Tensor:
    """Edges of consecutive graphs of `sizes` atoms, small ones together, large ones by themselves."""
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    start = 0
    for large, run in groupby(sizes, key=lambda size: size >= CELLS_FROM and pos.device.type == "cpu" and has_vesin()):
        for graphs in [[size] for size in run] if large else [list(run)]:
            part = pos[start : start + sum(graphs)]
            found = _by_cells(part, k) if large else _by_rows(part, graphs, k)
            parts.append(found.add_(start))
            start += part.shape[0]
    return torch.cat(parts, dim=1)


def _by_rows(pos: Tensor, sizes: list[int], k: int) -> Tensor:
    """Edges of consecutive graphs from all distances within each, block by block."""
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    for start, graphs, first, last in row_blocks(sizes, pos.device):
        part = pos[start : start + sum(graphs)]
        squared, offset = squared_distances(part, graphs, first, last)
        there = ~squared.isnan()
        there.diagonal(offset=first, dim1=1, dim2=2).fill_(False)
        mask = there & _about_nearest(squared.nan_to_num_(nan=torch.inf, posinf=torch.inf), k)
        parts.append(_nearest_pairs(part, pairs_of(mask, offset, first), k).add_(start))
    return torch.cat(parts, dim=1)


def _by_cells(pos: Tensor, k: int) -> Tensor:
    """Edges of one large graph: those within a radius that holds enough for most atoms, and rows for the others."""
    atoms = pos.shape[0]
    sample = torch.arange(0, atoms, max(1, atoms // SAMPLE), device=pos.device)
    source, target = _of_targets(pos, sample, k)
    farthest = (pos[source] - pos[target]).norm(dim=1).view(-1, min(k, atoms - 1)).amax(dim=1)
    r = float(farthest.amax())
    within = ((pos - pos[sample].unsqueeze(1)).square().sum(dim=2) < r * r).sum(dim=1)
    if not 0 < r < math.inf or float(within.double().mean()) > MOST_PAIRS * k:  # too uneven: no radius suits most atoms
        return _by_rows(pos, [atoms], k)
    edge_index = radius_graph(pos, r, max_num_neighbors=k)
    complete = torch.bincount(edge_index[1], minlength=atoms) == min(k, atoms - 1)
    rest = _of_targets(pos, (~complete).nonzero().squeeze(1), k)
    edge_index = torch.cat([edge_index[:, complete[edge_index[1]]], rest], dim=1)
    return edge_index[:, edge_index[1].argsort(stable=True)]


def _of_targets(pos: Tensor, targets: Tensor, k: int) -> Tensor:
    """Edges of one graph to some of its atoms, in their order, from the distances to all others."""
    parts = [targets.new_empty(2, 0)]
    for rows in targets.split(max(1, CPU_PAIRS // pos.shape[0])):
        squared = (pos - pos[rows].unsqueeze(1)).square().sum(dim=2)
        there = torch.ones_like(squared, dtype=torch.bool).scatter_(1, rows.unsqueeze(1), False)
        target, source = (there & _about_nearest(squared.masked_fill_(~there, torch.inf), k)).nonzero(as_tuple=True)
        parts.append(_nearest_pairs(pos, torch.stack([source, rows[target]]), k))
    return torch.cat(parts, dim=1)


def _about_nearest(squared: Tensor, k: int) -> Tensor:
    """Return a mask that holds the `k` smallest of each row, and what is about as small: exact distances decide."""
    info = torch.finfo(squared.dtype)
    farthest = squared.topk(min(k, squared.shape[-1]), dim=-1, largest=False).values[..., -1:]
    return squared <= farthest * (1 + 32 * info.eps) + info.tiny


def _nearest_pairs(pos: Tensor, candidates: Tensor, k: int) -> Tensor:
    """Keep the `k` nearest sources of each target; candidates are sorted by target and then by source."""
    distance = (pos.index_select(0, candidates[0]) - pos.index_select(0, candidates[1])).norm(dim=-1)
    return candidates[:, nearest(candidates[1], distance, k)]
