"""The decisions all engines share: which candidate pairs are edges, and which of them are kept."""

import torch
from torch import Tensor


def close_pairs(pos: Tensor, candidates: Tensor, r: float, limit: int | None) -> Tensor:
    r"""Keep the candidates closer than `r`, and of those the `limit` nearest per target.

    Args:
        pos: positions [N, 3] in Å, contiguous (the last bit of a norm depends on the memory layout).
        candidates: pairs [2, P] of source and target, sorted by target and then by source.
        r: cutoff in Å.
        limit: sources kept per target, `None` for all; at equal distance the lower index is kept.

    Returns:
        Pairs [2, E] in the order of the candidates.

    Example:
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
        >>> close_pairs(pos, torch.tensor([[1, 2], [0, 0]]), r=2.0, limit=None)
        tensor([[1],
                [0]])
    """
    source, target = candidates
    distance = (pos.index_select(0, source) - pos.index_select(0, target)).norm(dim=-1)
    keep = distance < r
    if not bool(keep.all()):
        candidates, distance = candidates[:, keep], distance[keep]
    if limit is None or candidates.shape[1] <= limit:
        return candidates
    return candidates[:, nearest(candidates[1], distance, limit)]


def nearest(target: Tensor, distance: Tensor, limit: int) -> Tensor:
    """Return a mask [E] of the `limit` smallest distances of each target; `target` is sorted.

    Example:
        >>> nearest(torch.tensor([0, 0, 1]), torch.tensor([2.0, 1.0, 3.0]), limit=1)
        tensor([False,  True,  True])
    """
    order = distance.argsort(stable=True)
    order = order[target[order].argsort(stable=True)]  # by target, then distance, then source
    place = torch.arange(target.numel(), device=target.device)
    first = torch.searchsorted(target, target)  # where the edges of the same target begin
    keep = torch.empty_like(target, dtype=torch.bool)
    keep[order] = place - first < limit
    return keep


def reach(pos: Tensor, r: float) -> float:
    """Return a radius in Å that contains every pair within `r`, whatever the rounding of a search.

    The margin covers the rounding of coordinates that are shifted or scaled in the precision of `pos`, and
    squares that underflow.

    Args:
        pos: positions [N, 3] in Å, N ≥ 1.
        r: cutoff in Å.

    Example:
        >>> 5.0 < reach(torch.ones(1, 3), 5.0) < 5.0001
        True
    """
    return r + 32 * torch.finfo(pos.dtype).eps * (r + float(pos.abs().max())) + 1e-12
