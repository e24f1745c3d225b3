"""What every task that the loop trains has in common: optimizer, schedule, clock, seeds and what is saved."""

import math
import time
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .engine import LightningDataModule, LightningModule, OptimizerLRSchedulerConfig
from .schedule import warmup_cosine


class LoopSettings(Protocol):
    """Settings that the loop looks at, see `TrainConfig`."""

    seed: int
    epochs: int | None
    max_time: float | None
    accumulate: int
    learning_rate: float
    warmup: float
    final_rate: float
    beta2: float
    weight_decay: float
    gradient_clip: float | None
    ema_decay: float
    select: Literal["last", "best"]
    precision: Literal["float32", "tf32", "bf16", "float64"]
    devices: int | Literal["auto"]
    nodes: int
    validations: int
    checkpoint_every: int | None
    loggers: tuple[Literal["tensorboard", "wandb"], ...]


class LoopData(LightningDataModule):
    """Data of a run: batches in an order that depends on the seed alone, dealt to any number of devices."""

    rank, devices = 0, 1

    def place(self, rank: int, devices: int) -> None:
        """Tell which device of how many this process serves."""
        self.rank, self.devices = rank, devices

    def setup(self, stage: str) -> None:
        if self.trainer is not None:
            self.place(self.trainer.global_rank, self.trainer.world_size)

    def batches_per_pass(self) -> int:
        """Return the number of batches of this device in the first pass over the training data."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, float]:
        """Return a few numbers that tell whether a resumed run has the same data."""
        raise NotImplementedError


class LoopTask(LightningModule):
    """A task that `fit` trains.

    Every step draws what it draws at random from a generator seeded by (seed, step, device): a run that goes on from a
    checkpoint draws what it would have drawn.

    Args:
        model: what is trained.
        config: optimizer and schedule.
    """

    def __init__(self, model: nn.Module, config: Any) -> None:
        super().__init__()
        self.model = model
        self.settings: LoopSettings = config
        self.elapsed_before, self._start = 0.0, time.monotonic()  # seconds before an interruption
        self.steps: float = math.inf  #: optimizer steps of the whole run; set before it starts

    def save(self, path: Path, data: LoopData) -> None:
        """Write the model whole or not at all, so that it can be used."""
        raise NotImplementedError

    def restore(self, path: Path) -> None:
        """Take the weights that `save` wrote."""
        raise NotImplementedError

    def validation_errors(self) -> str:
        """Return the latest validation errors, to show them."""
        raise NotImplementedError

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        step = self.trainer.fit_loop.total_batch_idx
        seed = (self.settings.seed * 1_000_003 + step) * 4_099 + self.global_rank
        torch.manual_seed(seed % 2**63)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        config = self.settings
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
        if self.settings.max_time is not None:
            done = max(done, self.elapsed() / self.settings.max_time)
        return min(done, 1.0)

    def elapsed(self) -> float:
        """Return the seconds that the run has trained, before and after interruptions."""
        return self.elapsed_before + time.monotonic() - self._start

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed_before, self._start = checkpoint["elapsed"], time.monotonic()


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
