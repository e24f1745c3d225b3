"""All distances within each graph, in blocks of bounded memory: any device, no other package."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .pairs import close_pairs

#: Pairs in one block. On the CPU a block should stay in the cache; an accelerator wants few launches.
CPU_PAIRS = 2**19
DEVICE_PAIRS = 2**22
#: Padding (in pairs) that costs less than one more block.
FREE_PADDING = 2**14


def dense_edges(pos: Tensor, sizes: list[int], r: float, limit: int | None) -> Tensor:
    """Find the edges of consecutive graphs by computing all distances within each.

    Args:
        pos: positions [N, 3] in Å, contiguous, the atoms of each graph in a row.
        sizes: atoms of each graph, N in total.
        r: cutoff in Å.
        limit: nearest sources kept per target, `None` for all.

    Returns:
        Edges [2, E], sorted by target and then by source.

    Example:
        >>> dense_edges(torch.zeros(3, 3), [2, 1], r=1.0, limit=None)
        tensor([[1, 0],
                [0, 1]])
    """
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    for start, graphs, first, last in row_blocks(sizes, pos.device):
        part = pos[start : start + sum(graphs)]
        parts.append(close_pairs(part, _candidates(part, graphs, r, first, last), r, limit).add_(start))
    return torch.cat(parts, dim=1)


def row_blocks(sizes: list[int], device: torch.device) -> Iterator[tuple[int, list[int], int, int]]:
    """Yield blocks of distances that fit the device: first atom, sizes of the graphs, first and last row in each."""
    largest_block = CPU_PAIRS if device.type == "cpu" else DEVICE_PAIRS
    start = 0
    for graphs in _blocks(sizes, largest_block):
        atoms = max(graphs)
        rows = max(1, largest_block // max(atoms, 1)) if len(graphs) == 1 else atoms
        for first in range(0, atoms, rows):
            yield start, graphs, first, first + rows
        start += sum(graphs)


def _blocks(sizes: list[int], largest_block: int) -> Iterator[list[int]]:
    """Cut into runs of graphs that, padded to the largest, are not too many pairs and not mostly padding."""
    first = widest = pairs = 0
    for index, size in enumerate(sizes):
        padded = (index - first + 1) * max(widest, size) ** 2
        if index > first and padded > min(largest_block, 4 * (pairs + size**2) + FREE_PADDING):
            yield sizes[first:index]
            first, widest, pairs = index, 0, 0
        widest, pairs = max(widest, size), pairs + size**2
    if sizes:
        yield sizes[first:]


def _candidates(pos: Tensor, graphs: list[int], r: float, first: int, last: int) -> Tensor:
    """Pairs [2, P] within about `r` whose target has a place from `first` to `last` in its graph."""
    squared, start = squared_distances(pos, graphs, first, last)
    info = torch.finfo(pos.dtype)
    # A little wide: the exact distances decide. `tiny` is for cutoffs whose square underflows.
    return pairs_of(squared < r * r * (1 + 32 * info.eps) + info.tiny, start, first)


def squared_distances(pos: Tensor, graphs: list[int], first: int, last: int) -> tuple[Tensor, Tensor]:
    """Return squared distances [graphs, rows, atoms] in Å², and where each graph starts in `pos`.

    Rows are the targets with places from `first` to `last`. An atom is infinitely far from itself, padding is NaN.
    """
    atoms = max(graphs)
    if atoms * len(graphs) == pos.shape[0]:
        start = torch.arange(len(graphs), device=pos.device) * atoms
        xyz = pos.t().reshape(3, len(graphs), atoms)
    else:
        size = torch.tensor(graphs, device=pos.device)
        start = size.cumsum(0) - size
        place = torch.arange(atoms, device=pos.device)
        index = (start[:, None] + place).clamp(max=pos.shape[0] - 1)
        # NaN is closer to nothing, so padding makes no pairs.
        xyz = pos.t()[:, index].masked_fill_(place >= size[:, None], torch.nan)
    x, y, z = (axis[:, None, :] - axis[:, first:last, None] for axis in xyz)
    squared = x.square_().addcmul_(y, y).addcmul_(z, z)
    squared.diagonal(offset=first, dim1=1, dim2=2).fill_(torch.inf)
    return squared, start


def pairs_of(mask: Tensor, start: Tensor, first: int) -> Tensor:
    """Return the pairs [2, P] of source and target that a mask of a block of distances chooses."""
    graph, target, source = mask.nonzero(as_tuple=True)
    return torch.stack([source, target + first]) + start[graph]
