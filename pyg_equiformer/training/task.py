"""The training task: what is computed in a step and how the weights are updated. The loop is Lightning's."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch_geometric.data import Batch

from .. import keys
from ..models import Denoising
from .build import config_of
from .config import TrainConfig
from .denoising import corrupt
from .engine import LightningModule, OptimizerLRSchedulerConfig
from .error_sums import ErrorSums
from .losses import LossTerm, weighted_loss
from .schedule import warmup_cosine


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


class Diverged(ValueError):
    """The training has produced numbers that are not finite."""


class TrainingTask(LightningModule):
    r"""Fit the targets of a run.

    .. math:: L = \sum_t w_t\, \ell_t(y_t / s_t, \hat y_t / s_t)

    with the losses of `losses.target_error`, means over all labelled structures or atoms of the batch on all devices,
    and the scales :math:`s_t` of the network's output, so that one set of weights suits all data.

    Every step draws its dropout and noise from a generator seeded by (seed, step, device): a run that goes on from a
    checkpoint draws what it would have drawn.

    Args:
        model: maps a batch to a dict with each target, such as `EnergyForces` or `PropertyModel`.
        terms: of the loss.
        config: optimizer, schedule and denoising settings.
        scales: unit of the network's output for each target; forces are shown to DeNS in it.

    Raises:
        ValueError: if the denoising does not fit the targets.
    """

    def __init__(
        self,
        model: nn.Module,
        terms: Sequence[LossTerm],
        config: TrainConfig,
        scales: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.terms, self.config = model, tuple(terms), config
        self.scales = scales or {}
        self.denoiser = _denoiser(model, [t.target.name for t in terms], config)
        self.elapsed_before, self._start = 0.0, time.monotonic()  # seconds before an interruption
        self.steps: float = math.inf  #: optimizer steps of the whole run; set before it starts
        self.train_errors, self.valid_errors = ErrorSums(self.terms), ErrorSums(self.terms)

    def forward(self, batch: Batch, **options: Any) -> Any:
        return self.model(self.convert(batch), **options)

    def convert(self, batch: Batch) -> Batch:
        """Return the batch with positions in the precision of the weights."""
        dtype = next(self.model.parameters()).dtype
        for key in (keys.POS, keys.CELL, keys.RADIUS_EDGE_SHIFT, keys.NODE_ATTR):
            if key in batch and batch[key].dtype != dtype:
                batch[key] = batch[key].to(dtype)
        return batch

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        step = self.trainer.fit_loop.total_batch_idx
        seed = (self.config.seed * 1_000_003 + step) * 4_099 + self.global_rank
        torch.manual_seed(seed % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.denoiser is None:
            sums, counts = self._sums(self(batch), batch, self.train_errors)
            return weighted_loss(sums, counts, [t.weight for t in self.terms])
        return self._denoising_step(batch, self.denoiser)

    def _denoising_step(self, batch: Batch, denoiser: Denoising) -> Tensor:
        c = self.config
        batch = self.convert(batch)
        clean, (batch, noise, moved) = (
            batch,
            corrupt(
                batch,
                std=c.noise_std,
                probability=c.noise_probability,
                fraction=c.noise_fraction,
                cutoff=config_of(self.model).cutoff,
            ),
        )
        embedding, used = None, None
        if c.denoising == "dens":
            forces = clean[keys.FORCES].to(batch.pos.dtype) / self.scales[keys.FORCES]
            embedding, used = denoiser.embed(forces.nan_to_num(), moved & ~forces.isnan().any(1)), ~moved
        out = self.model(batch, node_embedding=embedding, return_features=True)
        sums, counts = self._sums(out, batch, self.train_errors, used)
        found = denoiser(out["features"], out["edges"])
        error = (found - noise / c.noise_std).norm(dim=1)
        sums, counts = [*sums, (error * moved).sum()], [*counts, moved.sum()]
        return weighted_loss(sums, counts, [*(t.weight for t in self.terms), c.noise_weight])

    def _sums(
        self, out: dict[str, Tensor], batch: Batch, errors: ErrorSums, unmoved: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return sum and number of the errors of each term; labels of moved atoms do not count."""
        num_atoms = batch.ptr.diff() if "ptr" in batch else torch.bincount(batch.batch)
        sums, counts = [], []
        for term in self.terms:
            name = term.target.name
            used = unmoved if term.target.per_atom else None
            total, count = term.errors(out[name], batch[name], num_atoms, used)
            sums.append(total)
            counts.append(count)
            errors.add(name, out[name], batch[name], total, count, used)
        return sums, counts

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        out = self(batch)
        if batch_idx < self.own_valid_batches:
            self._sums(out, batch, self.valid_errors)

    @property
    def own_valid_batches(self) -> float:
        """Validation batches of this device that count; the others only keep the devices in step."""
        data = getattr(self.trainer, "datamodule", None)
        return math.inf if data is None else data.own_valid_batches

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        config = self.config
        self._start = time.monotonic()
        optimizer = AdamW(
            decay_groups(self, config.weight_decay),
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

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the norm of the gradient of all parameters."""
        # Lightning refuses to clip for fused optimizers under autocast, as float16's gradients are scaled; bfloat16's
        # are not.
        if gradient_clip_val is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def progress(self, step: int) -> float:
        """Return how much of the run is done after `step` steps, 0 to 1: by steps or, if more, by time."""
        done = step / self.steps
        if self.config.max_time is not None:
            done = max(done, self.elapsed() / self.config.max_time)
        return min(done, 1.0)

    def elapsed(self) -> float:
        """Return the seconds that the run has trained, before and after interruptions."""
        return self.elapsed_before + time.monotonic() - self._start

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed()
        checkpoint["train_errors"] = self.train_errors.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed_before, self._start = checkpoint["elapsed"], time.monotonic()
        self.train_errors.load_state_dict(checkpoint["train_errors"])

    def on_validation_epoch_start(self) -> None:
        self.valid_errors.clear()

    def on_validation_epoch_end(self) -> None:
        """Log the errors of the validation set, and those of the training steps since the last validation."""
        errors = {**self.train_errors.means("train"), **self.valid_errors.means("valid")}
        if not all(bool(e.isfinite()) for e in errors.values()):
            raise Diverged(
                f"the errors are no longer finite at step {self.trainer.global_step}, expected a smaller learning_rate "
                f"(now {self.config.learning_rate}) or gradient_clip (now {self.config.gradient_clip})"
            )
        # The sums are those of all devices: nothing is left to reduce.
        self.log_dict(errors)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        self.train_errors.clear()


def _denoiser(model: nn.Module, names: Sequence[str], config: TrainConfig) -> Denoising | None:
    if config.denoising == "none":
        return None
    forces = keys.FORCES in names
    if config.denoising == "dens" and not (forces and keys.ENERGY in names):
        raise ValueError(f"denoising: 'dens' needs energies and forces among the targets, got {', '.join(names)}")
    if config.denoising == "noisy_nodes" and (forces or keys.STRESS in names):
        raise ValueError("denoising: 'noisy_nodes' moves atoms, and forces change with them; expected 'dens' or 'none'")
    return Denoising(config_of(model), encode_forces=config.denoising == "dens")
