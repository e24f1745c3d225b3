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
    largest_block = CPU_PAIRS if pos.device.type == "cpu" else DEVICE_PAIRS
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    start = 0
    for graphs in _blocks(sizes, largest_block):
        stop = start + sum(graphs)
        atoms = max(graphs)
        rows = max(1, largest_block // max(atoms, 1)) if len(graphs) == 1 else atoms
        for first in range(0, atoms, rows):
            candidates = _candidates(pos[start:stop], graphs, r, first, first + rows)
            parts.append(close_pairs(pos[start:stop], candidates, r, limit).add_(start))
        start = stop
    return torch.cat(parts, dim=1)


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
    info = torch.finfo(pos.dtype)
    # A little wide: the exact distances decide. `tiny` is for cutoffs whose square underflows.
    graph, target, source = (squared < r * r * (1 + 32 * info.eps) + info.tiny).nonzero(as_tuple=True)
    return torch.stack([source, target + first]) + start[graph]
