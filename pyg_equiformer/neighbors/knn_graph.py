"""`knn_graph`: the nearest atoms of each atom, however far."""

import torch
from torch import Tensor

from .dense import pairs_of, row_blocks, squared_distances
from .graphs import graph_by_graph
from .inputs import check_count, check_positions
from .pairs import nearest
from .radius_graph import radius_graph


def knn_graph(pos: Tensor, k: int, batch: Tensor | None = None, cutoff: float | None = None) -> Tensor:
    r"""Connect each atom with the `k` nearest atoms of its graph.

    .. math:: \{(j, i) : j \in \operatorname{argmin}^{k}_{j \neq i}
        \left(\lVert \mathrm{pos}_j - \mathrm{pos}_i \rVert, j\right)\}

    Edges point to the atom that looks: j may be among the nearest of i without i being among those of j. At equal
    distance the lower index counts as nearer. An atom of a graph with k atoms or fewer gets all others. Which atoms
    are the nearest changes abruptly as they move, so energies on such graphs are not continuous, while forces are
    exact between the changes.

    Without a cutoff all distances within a graph are computed, in blocks of bounded memory: the time grows with the
    square of the atoms of a graph, the memory with their number. With one, see `radius_graph`.

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
    """Edges of consecutive graphs of `sizes` atoms, block by block."""
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    for start, graphs, first, last in row_blocks(sizes, pos.device):
        part = pos[start : start + sum(graphs)]
        candidates = _candidates(part, graphs, k, first, last)
        distance = (part.index_select(0, candidates[0]) - part.index_select(0, candidates[1])).norm(dim=-1)
        parts.append(candidates[:, nearest(candidates[1], distance, k)].add_(start))
    return torch.cat(parts, dim=1)


def _candidates(pos: Tensor, graphs: list[int], k: int, first: int, last: int) -> Tensor:
    """Pairs [2, P] of a block that hold the `k` nearest of each target, and what is about as near."""
    squared, start = squared_distances(pos, graphs, first, last)
    there = ~squared.isnan()
    there.diagonal(offset=first, dim1=1, dim2=2).fill_(False)
    squared = squared.nan_to_num_(nan=torch.inf, posinf=torch.inf)
    info = torch.finfo(pos.dtype)
    farthest = squared.topk(min(k, squared.shape[2]), dim=2, largest=False).values[..., -1:]
    # A little wide, as the exact distances decide; all atoms where there are not as many.
    return pairs_of(there & (squared <= farthest * (1 + 32 * info.eps) + info.tiny), start, first)
