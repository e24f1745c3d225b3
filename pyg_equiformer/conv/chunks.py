"""Targets and their edges in chunks, so that memory need not grow with the edges."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..o3 import Blocks

#: Edges in a chunk, for which a layer needs some 10 kB each while it is at work. On a CPU 2¹⁴ took a quarter less time
#: than 2¹⁶; an accelerator wants few launches.
CHUNK_EDGES = {"cpu": 2**14, "cuda": 2**17}


def most_edges(device: torch.device) -> int:
    """Return how many edges a chunk has at most on a device."""
    return CHUNK_EDGES.get(device.type, CHUNK_EDGES["cuda"])


class Chunk(NamedTuple):
    """Some targets in a row with all of their edges.

    Attributes:
        edge_index: [2, e], with targets counted from the first of the chunk.
        edges: inputs of these edges, one tensor [e, …] each.
        num_targets: how many targets.
    """

    edge_index: Tensor
    edges: list[Tensor]
    num_targets: int


class TargetChunks:
    """A division of targets into runs with at most so many edges each as `most_edges` tells.

    Softmax and sums are over the edges of one target, so the result is that of all edges at once.

    Args:
        edge_index: [2, E].
        row: of `edge_index` that holds the targets.
        num_targets: N.

    Example:
        >>> chunks = TargetChunks(torch.tensor([[1, 2, 0], [0, 0, 1]]), 1, 3)
        >>> [chunk.num_targets for chunk in chunks.of([])]
        [3]
    """

    def __init__(self, edge_index: Tensor, row: int, num_targets: int) -> None:
        self.edge_index, self.row = edge_index, row
        index = edge_index[row]
        self.order: Tensor | None = None
        if bool((index[1:] < index[:-1]).any()):
            self.order = index.argsort(stable=True)
        ends = torch.bincount(index, minlength=num_targets).cumsum(0)
        self.num_targets: list[int] = []
        self.num_edges: list[int] = []
        first, done, most = 0, 0, most_edges(edge_index.device)
        while first < num_targets:
            # As many targets as have at most so many edges together, but at least one.
            limit = torch.searchsorted(ends, done + most, right=True)
            last = max(first + 1, int(limit))
            self.num_targets.append(last - first)
            self.num_edges.append(int(ends[last - 1]) - done)
            first, done = last, int(ends[last - 1])

    def __len__(self) -> int:
        return len(self.num_targets)

    def of(self, edges: Sequence[Tensor]) -> Iterator[Chunk]:
        """Yield the chunks, with their parts of what belongs to the edges [E, …], or [E/2, …] for both directions."""
        count = self.edge_index.shape[1]
        inputs = [t if t.shape[0] == count else torch.cat([t, t]) for t in edges]
        index = self.edge_index
        if self.order is not None:
            index, inputs = index[:, self.order], [t.index_select(0, self.order) for t in inputs]
        # Split, not sliced: the gradient of a slice is as long as the whole.
        parts = zip(*(torch.split(t, self.num_edges) for t in inputs)) if inputs else iter([()] * len(self))
        first, move = 0, torch.zeros(2, 1, dtype=index.dtype, device=index.device)
        for ours, part, targets in zip(torch.split(index, self.num_edges, dim=1), parts, self.num_targets):
            move[self.row] = first
            yield Chunk(ours - move, list(part), targets)
            first += targets

    def nodes(self, x: Blocks) -> Iterator[Blocks]:
        """Yield the parts of what belongs to the targets [N, …]."""
        return (list(part) for part in zip(*(torch.split(b, self.num_targets) for b in x)))

    def in_edge_order(self, parts: list[Tensor]) -> Tensor:
        """Return what the chunks gave for their edges, in the order of all edges."""
        joined = torch.cat(parts)
        return joined if self.order is None else torch.empty_like(joined).index_copy(0, self.order, joined)
