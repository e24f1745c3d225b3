"""From a batch of graphs in any order to graphs that stand one after the other, and back."""

from collections.abc import Callable

from torch import Tensor

from .inputs import check_batch


def graph_by_graph(pos: Tensor, batch: Tensor | None, find: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    """Return the edges [2, E] that `find` gives for atoms sorted by graph, in the numbering of `pos`.

    Args:
        pos: positions [N, 3] in Å.
        batch: graph of each atom [N], in any order; None for one graph.
        find: from positions and numbers of atoms of consecutive graphs to edges, sorted by target and then source.

    Raises:
        ValueError: if `batch` is not made of integers ≥ 0, one per atom.

    Example:
        >>> import torch
        >>> pos, batch = torch.zeros(3, 3), torch.tensor([1, 0, 1])
        >>> graph_by_graph(pos, batch, lambda pos, sizes: torch.tensor([[2, 1], [1, 2]]))
        tensor([[2, 0],
                [0, 2]])
    """
    if batch is None:
        return find(pos, [pos.shape[0]])
    check_batch(batch, pos)
    order = None
    if bool((batch[1:] < batch[:-1]).any()):
        batch, order = batch.sort(stable=True)
        pos = pos[order]
    if batch.numel() > 0 and int(batch[0]) < 0:
        raise ValueError(f"expected batch to hold integers ≥ 0, got {int(batch[0])}")
    edge_index = find(pos, batch.unique_consecutive(return_counts=True)[1].tolist())
    if order is None:
        return edge_index
    # A stable sort keeps the atoms of one graph in order, so sources stay sorted within each target.
    edge_index = order[edge_index]
    return edge_index[:, edge_index[1].argsort(stable=True)]
