"""What is known of a graph only, shared by its atoms."""

import torch
from torch import Tensor

from ..kernels import segment_sum


def equal_shares(batch: Tensor, num_graphs: int, like: Tensor) -> Tensor:
    """Return one over the number of atoms of its graph for each atom, [N] with as many axes as `like`, of its type.

    Args:
        batch: graph of each atom [N].
        num_graphs: B.
        like: [N, …].

    Example:
        >>> equal_shares(torch.tensor([0, 0, 1]), 2, torch.zeros(3, 1)).squeeze(1)
        tensor([0.5000, 0.5000, 1.0000])
    """
    atoms = segment_sum(torch.ones_like(batch, dtype=like.dtype), batch, num_graphs)
    return atoms.reciprocal().index_select(0, batch).view(-1, *([1] * (like.dim() - 1)))
