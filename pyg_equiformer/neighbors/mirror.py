"""Edges and their reverses."""

import torch
from torch import Tensor


def mirror_order(edge_index: Tensor, num_nodes: int) -> Tensor | None:
    """Return an order of the edges in which edge k + E/2 is the reverse of edge k, or None if there is none.

    What depends on distances alone is then needed for the first half only.

    Args:
        edge_index: [2, E], without shifts of periodic images.
        num_nodes: number of nodes.

    Example:
        >>> edge_index = torch.tensor([[1, 2, 0, 1], [0, 1, 1, 2]])
        >>> edge_index[:, mirror_order(edge_index, 3)]
        tensor([[0, 1, 1, 2],
                [1, 2, 0, 1]])
        >>> mirror_order(edge_index[:, 1:], 3) is None
        True
    """
    source, target = edge_index.long()
    if source.shape[0] % 2 or source.shape[0] == 0:
        return None
    there, back = source * num_nodes + target, target * num_nodes + source
    by_there, by_back = torch.argsort(there), torch.argsort(back)
    matched = (there[by_there] == back[by_back]).all() & (source != target).all()
    if not bool(matched):
        return None
    mirror = torch.empty_like(by_there)
    mirror[by_there] = by_back
    half = (source < target).nonzero().flatten()
    return torch.cat([half, mirror[half]])
