"""The training task: what is computed in a step and how the weights are updated. The loop is Lightning's."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from .. import checkpoints, keys
from ..data.structure_sets import Target
from ..models import Denoising
from .build import config_of
from .config import TrainConfig
from .data_module import StructureDataModule
from .denoising import corrupt
from .error_sums import ErrorSums
from .loop_task import Diverged, LoopData, LoopTask
from .losses import LossTerm, weighted_loss
from .report import format_number
from .trained_file import save_trained


class TrainingTask(LoopTask):
    r"""Fit the targets of a run.

    .. math:: L = \sum_t w_t\, \ell_t(y_t / s_t, \hat y_t / s_t)

    with the losses of `losses.target_error`, means over all labelled structures or atoms of the batch on all devices,
    and the scales :math:`s_t` of the network's output, so that one set of weights suits all data.

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
        super().__init__(model, config)
        self.terms, self.config = tuple(terms), config
        self.scales = scales or {}
        self.denoiser = _denoiser(model, [t.target.name for t in terms], config)
        self.train_errors, self.valid_errors = ErrorSums(self.terms), ErrorSums(self.terms)

    def save(self, path: Path, data: LoopData) -> None:
        assert isinstance(data, StructureDataModule)
        save_trained(path, self.model, self.config, [t.target for t in self.terms], data.statistics.elements)

    def restore(self, path: Path) -> None:
        self.model.load_state_dict(checkpoints.load_model(path).state_dict())

    def validation_errors(self) -> str:
        return ", ".join(self._told(term.target) for term in self.terms)

    def _told(self, target: Target) -> str:
        error = self.trainer.callback_metrics.get(f"valid/{target.name}_mae")
        number = "–" if error is None else f"{format_number(float(error))} {target.error_unit[1]}".strip()
        return f"{target.name} {number}"

    def forward(self, batch: Batch, **options: Any) -> Any:
        return self.model(self.convert(batch), **options)

    def convert(self, batch: Batch) -> Batch:
        """Return the batch with positions in the precision of the weights."""
        dtype = next(self.model.parameters()).dtype
        for key in (keys.POS, keys.CELL, keys.RADIUS_EDGE_SHIFT, keys.NODE_ATTR):
            if key in batch and batch[key].dtype != dtype:
                batch[key] = batch[key].to(dtype)
        return batch

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["train_errors"] = self.train_errors.state_dict()
        checkpoint["network"] = config_of(self.model).to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before = {} if "norm" in self.config.model else _BEFORE
        _check_network(config_of(self.model).to_dict(), checkpoint.get("network", before))
        super().on_load_checkpoint(checkpoint)
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


#: What states did not tell before they told the network: the norm of every preset then, unless settings chose one.
_BEFORE = {"norm": "layer"}


def _check_network(ours: dict[str, Any], saved: dict[str, Any]) -> None:
    """Raise a ValueError where a preset is not what it was when the run began: weights would fit all the same."""
    changed = [f"model.{k} was {old!r}, is {ours.get(k)!r}" for k, old in saved.items() if ours.get(k) != old]
    if changed:
        raise ValueError(
            f"the state is that of another network: {'; '.join(changed)}; expected the same, as told under model: in "
            "the config.yaml of the run"
        )


def _denoiser(model: nn.Module, names: Sequence[str], config: TrainConfig) -> Denoising | None:
    if config.denoising == "none":
        return None
    forces = keys.FORCES in names
    if config.denoising == "dens" and not (forces and keys.ENERGY in names):
        raise ValueError(f"denoising: 'dens' needs energies and forces among the targets, got {', '.join(names)}")
    if config.denoising == "noisy_nodes" and (forces or keys.STRESS in names):
        raise ValueError("denoising: 'noisy_nodes' moves atoms, and forces change with them; expected 'dens' or 'none'")
    return Denoising(config_of(model), encode_forces=config.denoising == "dens")
