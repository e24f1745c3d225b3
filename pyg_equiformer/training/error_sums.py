"""Sums of errors over a part of a run: a log entry per step would cost a millisecond."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .losses import LossTerm, sum_over_devices


class ErrorSums:
    """Mean absolute errors of the targets and the loss, over many batches and all devices.

    Args:
        terms: of the loss.
    """

    def __init__(self, terms: Sequence[LossTerm]) -> None:
        self.terms = tuple(terms)
        self.clear()

    def clear(self) -> None:
        """Forget what was added."""
        #: For each target: sum and number of absolute errors, sum and number of the loss's own errors.
        self._sums: dict[str, Tensor] = {}

    def add(
        self, name: str, predicted: Tensor, true: Tensor, loss: Tensor, count: Tensor, used: Tensor | None = None
    ) -> None:
        """Add a batch: components that are NaN, or belong to atoms that are not `used`, do not count."""
        error = (predicted.detach() - true).abs()
        known = (~true.isnan()).expand_as(error)
        if used is not None:
            known = known & used.view(-1, *[1] * (error.dim() - 1))
        total = torch.where(known, error, 0).sum(dtype=torch.float64)
        new = torch.stack([total, known.sum().double(), loss.detach().double(), count.double()])
        self._sums[name] = self._sums[name].to(new.device) + new if name in self._sums else new

    def means(self, stage: str) -> dict[str, Tensor]:
        """Return the errors in the targets' error units, and the loss; what has no labels is left out."""
        means: dict[str, Tensor] = {}
        loss = torch.zeros((), dtype=torch.float64)
        device = next((s.device for s in self._sums.values()), torch.device("cpu"))
        zero = torch.zeros(4, dtype=torch.float64, device=device)
        for term in self.terms:
            sums, _ = sum_over_devices(self._sums.get(term.target.name, zero))
            total, count, loss_sum, loss_count = sums.tolist()
            factor, _ = term.target.error_unit
            if count:
                # Lightning keeps metrics in float32: enough for an error.
                means[f"{stage}/{term.target.name}_mae"] = torch.tensor(factor * total / count)
            loss += term.weight * loss_sum / max(loss_count, 1)
        if means:
            means[f"{stage}/loss"] = loss.float()
        return means

    def state_dict(self) -> dict[str, list[float]]:
        return {name: sums.tolist() for name, sums in self._sums.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self._sums = {name: torch.tensor(sums, dtype=torch.float64) for name, sums in state.items()}
