"""Published splits of the benchmark data sets."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Positions of the structures of each set [n], int64, and what a user should know of their choice."""

    train: Tensor
    valid: Tensor
    test: Tensor
    note: str


def random_split(n: int, train: int, valid: int, test: int, *, rest: bool, seed: int) -> Split:
    """Split by `numpy.random.default_rng(seed).permutation(n)`, as the published Equiformer code does.

    With too few structures for the published sizes, the sets keep the published proportions.

    Args:
        n: number of structures, at least 3.
        train, valid, test: published sizes of the sets.
        rest: whether the test set takes all that is left, however many.
        seed: of the permutation; 1 is as published.

    Example:
        >>> random_split(60, 950, 50, 1000, rest=True, seed=1).note
        'only 60 structures, too few for the published split (950 / 50 / 1000): 28 / 2 / 30 at random, seed 1'
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    published = f"{train} / {valid} / {'rest' if rest and n > train + valid else test}"
    if n >= train + valid + (1 if rest else test):
        end = n if rest else train + valid + test
        note = f"split {published} (training, validation, test) at random, seed {seed}"
    else:
        total, end = train + valid + test, n
        valid, test = max(1, round(n * valid / total)), max(1, round(n * test / total))
        train = n - valid - test
        note = (
            f"only {n} structures, too few for the published split ({published}): "
            f"{train} / {valid} / {test} at random, seed {seed}"
        )
    return Split(order[:train], order[train : train + valid], order[train + valid : end], note)


def hold_out(positions: Tensor, seed: int, fraction: float = 0.05) -> tuple[Tensor, Tensor]:
    """Return given training positions as training and validation positions, drawn by the seed.

    Example:
        >>> [len(part) for part in hold_out(torch.arange(1000), seed=1)]
        [950, 50]
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(positions)))
    valid = max(1, round(fraction * len(positions)))
    return positions[order[:-valid]], positions[order[-valid:]]
