"""The superposition of two structures that has the highest TM-score."""

import torch
from torch import Tensor

from .frames import fit_frames

SHORTEST = 4  #: points of a fragment that a search begins with
ITERATIONS = 20  #: of a search
CHUNK = 2**19  #: points that are moved at once


def tm_scale(length: int) -> float:
    r"""Return the distance that halves the score of a residue; with it unrelated proteins of any length score alike.

    .. math:: d_0 = \max\left(1.24 \sqrt[3]{L - 15} - 1.8, \; 0.5\right)

    Args:
        length: L, in residues.

    Returns:
        in Å.

    Example:
        >>> round(tm_scale(100), 3), tm_scale(20)
        (3.652, 0.5)
    """
    return max(1.24 * max(length - 15, 0) ** (1 / 3) - 1.8, 0.5)


def best_tm_score(points: Tensor, target: Tensor) -> float:
    r"""Return the TM-score of points over all superpositions (Zhang and Skolnick, Proteins 57, 702 (2004)).

    .. math:: \max_{R, T} \frac{1}{L} \sum_i \frac{1}{1 + |R x_i + T - x_i^*|^2 / d_0^2}

    As in the TM-score program, searches begin with the superpositions of fragments: all points, all halves, quarters, …
    in a row, down to four. Each superposes the points that are near after the last superposition anew, until they stay
    the same; the highest score that is met counts. It is a lower bound, and 1 for a moved copy.

    Args:
        points: x [L, 3] in Å, three at least.
        target: x* [L, 3] in Å, in the same order.

    Returns:
        between 0 and 1.

    Raises:
        ValueError: if the shapes differ, or there are fewer than three points.

    Example:
        >>> x = torch.randn(30, 3)
        >>> round(best_tm_score(x + 5.0, x), 4)
        1.0
    """
    if points.shape != target.shape or points.shape[1:] != (3,) or len(points) < 3:
        raise ValueError(f"expected two times [L, 3] with L of 3 at least, got {[*points.shape]} and {[*target.shape]}")
    points, target = points.double(), target.double()
    fragments = _fragments(len(points)).to(points.device)
    parts = fragments.split(max(1, CHUNK // len(points)))
    return max(_search(points, target, part) for part in parts)


def _fragments(length: int) -> Tensor:
    """Return which points each search begins with [S, L]: all fragments of each length."""
    places, found, size = torch.arange(length), [], length
    while True:
        starts = torch.arange(length - size + 1).unsqueeze(1)
        found.append((places >= starts) & (places < starts + size))
        if size <= SHORTEST:
            return torch.cat(found)
        size = max(SHORTEST, size // 2)


def _search(points: Tensor, target: Tensor, chosen: Tensor) -> float:
    """Return the highest score that searches from these points [S, L] meet."""
    scale = tm_scale(len(points))
    reach = min(max(scale, 4.5), 8.0)
    best = 0.0
    for iteration in range(ITERATIONS):
        fit = fit_frames(points, target.expand(len(chosen), -1, 3), chosen)
        square = (fit.apply(points) - target).square().sum(-1)
        best = max(best, float((1 / (1 + square / scale**2)).mean(1).max()))
        # Narrow at first, so that the fragment's own surroundings are found; three points at least.
        limit = torch.full_like(square[:, 0], (reach - 1 if iteration == 0 else reach + 1) ** 2)
        near = square <= torch.maximum(limit, square.kthvalue(3, dim=1).values).unsqueeze(1)
        moving = (near != chosen).any(1)
        if not bool(moving.any()):
            break
        chosen = near[moving]
    return best
