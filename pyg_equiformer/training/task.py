"""The training task: what is computed in a step and how the weights are updated. The loop is Lightning's."""

import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch_geometric.data import Batch

from .. import keys
from .config import TrainConfig
from .engine import LightningModule, OptimizerLRSchedulerConfig
from .losses import energy_loss, force_loss
from .schedule import warmup_cosine

MILLI = 1e3  #: eV to meV, eV/Å to meV/Å


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Sort the trainable parameters into those with weight decay and those without, for an optimizer.

    Biases, one-dimensional parameters and all parameters of normalisation layers (classes with "Norm" in the
    name) do not decay.

    Args:
        module: any module.
        weight_decay: of the other parameters.

    Example:
        >>> decays, free = decay_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 0.1)
        >>> len(decays["params"]), len(free["params"]), decays["weight_decay"], free["weight_decay"]
        (1, 3, 0.1, 0.0)
    """
    norms = tuple(name for name, child in module.named_modules() if "Norm" in type(child).__name__)
    decays: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        owner, _, leaf = name.rpartition(".")
        in_norm = any(owner == norm or owner.startswith(f"{norm}.") for norm in norms)
        exempt = in_norm or parameter.dim() <= 1 or leaf.startswith("bias")
        (free if exempt else decays).append(parameter)
    return [{"params": decays, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


class ForceFieldTask(LightningModule):
    r"""Fit energies and forces.

    .. math:: L = \big( w_E\, \ell_E(E, \hat E) + w_F\, \ell_F(F, \hat F) \big) / s

    with the losses of `losses` (squared ones are divided by :math:`s^2`), where :math:`s` is the model's
    energy scale in eV (forces: eV/Å), so that one set of weights suits all data.

    Args:
        model: maps a batch to `energy` [B] in eV and `forces` [N, 3] in eV/Å, such as `EnergyForces`.
        config: weights, losses and optimizer settings.
        energy_scale: :math:`s` in eV.

    Raises:
        ValueError: if the scale is not positive.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, energy_scale: float = 1.0) -> None:
        super().__init__()
        if not energy_scale > 0:
            raise ValueError(f"expected an energy scale > 0 eV, got {energy_scale}")
        self.model = model
        self.config = config
        self.energy_scale = energy_scale
        self._start = time.monotonic()
        self._steps: float = math.inf
        self._train_errors, self._valid_errors = _ErrorSums(), _ErrorSums()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.model(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        energy, forces, energy_true, forces_true = self._compare(batch)
        config, s = self.config, self.energy_scale
        loss = config.energy_weight * energy_loss(energy / s, energy_true / s, config.energy_loss)
        loss = loss + config.forces_weight * force_loss(forces / s, forces_true / s, config.force_loss)
        self._train_errors.add(energy=energy - energy_true, forces=forces - forces_true)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        energy, forces, energy_true, forces_true = self._compare(batch)
        self._valid_errors.add(energy=energy - energy_true, forces=forces - forces_true)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return predictions (energies float64) and the number of atoms of each structure."""
        out = self(batch)
        return {
            keys.ENERGY: out["energy"].detach().double(),
            keys.FORCES: out["forces"].detach(),
            "num_atoms": batch.ptr.diff(),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        config = self.config
        self._start = time.monotonic()
        self._steps = self.trainer.estimated_stepping_batches  # infinite for a run that only the clock ends
        optimizer = AdamW(
            decay_groups(self.model, config.weight_decay),
            lr=config.learning_rate,
            betas=(0.9, config.beta2),
            fused=True,
        )

        def rate(step: int) -> float:
            # The step about to be taken: the first one moves, the last one ends the cosine.
            return warmup_cosine(self.progress(step + 1), config.warmup, config.final_rate)

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, rate), "interval": "step"},
        }

    def progress(self, step: int) -> float:
        """Return how much of the run is done after `step` steps, 0 to 1: by steps or, if more, by time."""
        done = step / self._steps
        if self.config.max_time is not None:
            done = max(done, (time.monotonic() - self._start) / self.config.max_time)
        return min(done, 1.0)

    def _compare(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = self(batch)
        energy, forces = out["energy"], out["forces"]
        # The difference of two large energies is taken in the labels' precision.
        return (
            energy.to(batch[keys.ENERGY].dtype),
            forces,
            batch[keys.ENERGY],
            batch[keys.FORCES].to(forces.dtype),
        )

    def on_train_epoch_start(self) -> None:
        self._train_errors.clear()

    def on_train_epoch_end(self) -> None:
        self.log_dict(self._train_errors.means("train"))

    def on_validation_epoch_start(self) -> None:
        self._valid_errors.clear()

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self._valid_errors.means("valid"))


class _ErrorSums:
    """Sums of absolute errors over an epoch: a log entry per step would cost a millisecond."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, **errors: Tensor) -> None:
        for name, error in errors.items():
            total = error.detach().abs().sum(dtype=torch.float64)
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] = self._counts.get(name, 0) + error.numel()

    def means(self, stage: str) -> dict[str, Tensor]:
        """Mean absolute errors in meV and meV/Å."""
        # Lightning keeps metrics in float32: enough for an error.
        means = {name: MILLI * total / self._counts[name] for name, total in self._sums.items()}
        return {f"{stage}/{name}_mae": mean.float() for name, mean in means.items()}
