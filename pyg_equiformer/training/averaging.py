"""Exponential moving average of the weights."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from .engine import LightningModule, WeightAveraging


def ema_decay(decay: float, step: int) -> float:
    r"""Decay after t updates, :math:`\min(\gamma, \tfrac{1 + t}{10 + t})`: a short memory at first.

    Args:
        decay: the decay in the long run.
        step: number of updates so far.

    Example:
        >>> [round(ema_decay(0.99, step), 2) for step in (0, 10, 10_000)]
        [0.1, 0.55, 0.99]
    """
    return min(decay, (1 + step) / (10 + step))


class EMAWeights(WeightAveraging):
    r"""Keep :math:`\bar\theta \leftarrow \gamma \bar\theta + (1 - \gamma) \theta` after every step.

    Lightning's callback swaps the averaged weights in for validation and leaves them in the model at the end.
    Buffers are copied, not averaged: they may be integers or constants.

    Args:
        decay: :math:`\gamma`, 0 to below 1; 0 keeps the latest weights.

    Raises:
        ValueError: if the decay is outside its range.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"expected an EMA decay from 0 to below 1, got {decay}")
        super().__init__(use_buffers=False, multi_avg_fn=_updater(decay))

    @property
    def averaged(self) -> LightningModule:
        """The copy of the task that holds the averaged weights."""
        if self._average_model is None:
            raise ValueError("there are no averaged weights before the training has started")
        return cast(LightningModule, self._average_model.module)


def _updater(decay: float) -> Callable[..., None]:
    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, 1 - ema_decay(decay, int(count)))

    return update
