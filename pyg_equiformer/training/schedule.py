"""Learning rate over the course of a run."""

import math


def warmup_cosine(progress: float, warmup: float = 0.02, floor: float = 0.01) -> float:
    r"""Fraction of the highest learning rate: a linear rise, then half a cosine down to `floor`.

    .. math:: \lambda(p) = p / w \;\; (p < w), \qquad
        f + \tfrac{1 - f}{2} \left(1 + \cos \pi \tfrac{p - w}{1 - w}\right) \;\; (p \ge w)

    Args:
        progress: how much of the run is done, 0 to 1; larger values count as 1.
        warmup: the part of the run, 0 to below 1, in which the rate rises.
        floor: the fraction of the highest rate that the run ends with.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> [round(warmup_cosine(p, warmup=0.1, floor=0.0), 3) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < 0 or not 0 <= warmup < 1 or not 0 <= floor <= 1:
        raise ValueError(
            "expected progress >= 0, 0 <= warmup < 1 and 0 <= floor <= 1, "
            f"got progress={progress}, warmup={warmup}, floor={floor}"
        )
    if progress < warmup:
        return progress / warmup
    along = (min(progress, 1.0) - warmup) / (1 - warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2
