"""Training `EquiFold` in the loop of all trainings."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from ..training.batches import BatchPlan, BatchStream, make_loader
from ..training.loop_task import Diverged, LoopData, LoopTask
from .equifold import EquiFold
from .frames import Frames, interpolate
from .loss import PARTS
from .saving import load_fold_model, save_fold_model
from .structures import crop
from .train_config import FoldTrainConfig


class FoldData(LoopData):
    """Proteins of a training in batches.

    Args:
        train, valid: as `training_data` gives them.
        config: batch size, seed and workers.
    """

    def __init__(self, train: list[Data], valid: list[Data], config: FoldTrainConfig) -> None:
        super().__init__()
        self.train, self.valid, self.config = train, valid, config

    def fingerprint(self) -> dict[str, float]:
        groups = sum(int(p.num_nodes or 0) for p in self.train)
        places = sum(float(p.pos_true.double().abs().sum()) for p in self.train)
        return {"proteins": float(len(self.train)), "groups": float(groups), "places": places}

    def _plan(self) -> BatchPlan:
        c = self.config
        return BatchPlan(len(self.train), c.batch_size, seed=c.seed, rank=self.rank, devices=self.devices)

    def batches_per_pass(self) -> int:
        return len(self._plan().batches(0))

    def train_dataloader(self) -> BatchStream:
        plan, epochs = self._plan(), self.config.epochs
        length = None if epochs is None else epochs * len(plan.batches(0))
        return BatchStream(self.train, plan, length=length, workers=self.config.workers)

    def val_dataloader(self) -> DataLoader:
        # Every device sees all: the means are then the same everywhere.
        return make_loader(self.valid, batch_size=1, num_workers=self.config.workers)


class FoldingTask(LoopTask):
    r"""Fit the frames of proteins, see `FoldLoss`.

    Each step starts from new frames, cuts a piece out of long proteins, and recycles 0 to `config.recycles` times.
    Validation starts from random frames that are the same every time.

    Args:
        model: the model.
        config: loss, optimizer and schedule.
    """

    model: EquiFold

    def __init__(self, model: EquiFold, config: FoldTrainConfig) -> None:
        super().__init__(model, config)
        self.config, self.loss = config, config.loss()
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def save(self, path: Path, data: LoopData) -> None:
        save_fold_model(path, self.model, training=self.config.to_dict())

    def restore(self, path: Path) -> None:
        self.model.load_state_dict(load_fold_model(path).state_dict())

    def validation_errors(self) -> str:
        found = self.trainer.callback_metrics
        return ", ".join(f"{part} {float(found[f'valid/{part}']):.3f}" for part in ("fape", "lddt"))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        c = self.config
        if c.crop is not None:
            batch = self._cropped(batch, c.crop)
        done = self.progress(self.trainer.global_step)
        recycles = int(torch.randint(0, self.model.config.recycles + 1, ()))
        folded = self.model(batch, self.start_frames(batch, self.truth(done)), recycles=recycles)
        ramp = 0.0 if done < c.violation_start else (done - c.violation_start) / max(1 - c.violation_start, 1e-9)
        parts = self.loss(folded, batch, self.model.templates, min(1.0, ramp))
        if not bool(parts["loss"].isfinite()):
            raise Diverged(
                f"the loss is no longer finite at step {self.trainer.global_step}, expected a smaller learning_rate "
                f"(now {c.learning_rate}) or gradient_clip (now {c.gradient_clip})"
            )
        self._add("train", parts)
        return parts["loss"]

    def _cropped(self, batch: Batch, size: int) -> Batch:
        proteins = []
        for protein in batch.to_data_list():
            left = int(protein.num_residues) - size
            proteins.append(crop(protein, size, int(torch.randint(0, left + 1, ())) if left > 0 else 0))
        return Batch.from_data_list(proteins)

    def truth(self, done: float) -> float:
        """Share of the true frames in those that a step starts from, where `done` of the run is done."""
        c = self.config
        share = max(0.0, 1 - done / c.interpolate) if c.interpolate else 0.0
        if c.mixed_starts and float(torch.rand(())) < c.mixed_starts:
            share = max(share, float(torch.rand(())))
        return share

    def start_frames(self, batch: Batch, truth: float) -> Frames:
        """Frames to start from, with this share of the true ones; groups that are not known start at random."""
        start = self.model.start(len(batch.group_type))
        if not truth:
            return start
        true = Frames(batch.rotation.to(start.origin), batch.origin.to(start.origin))
        middle = torch.stack([true.origin[batch.batch == k].mean(0) for k in range(batch.num_graphs)])
        share = truth * batch.known.to(start.origin.dtype)
        return interpolate(start, Frames(true.rotation, true.origin - middle[batch.batch]), share)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        generator = torch.Generator().manual_seed(batch_idx)
        folded = self.model(batch, self.model.start(len(batch.group_type), generator))
        self._add("valid", self.loss(folded, batch, self.model.templates))

    def _add(self, stage: str, parts: dict[str, Tensor]) -> None:
        found = torch.stack([parts[part].detach().double().cpu() for part in ("loss", *PARTS)])
        self._sums[stage] = self._sums[stage] + found if stage in self._sums else found
        self._counts[stage] = self._counts.get(stage, 0) + 1

    def on_validation_epoch_start(self) -> None:
        self._sums.pop("valid", None)
        self._counts.pop("valid", None)

    def on_validation_epoch_end(self) -> None:
        for stage, sums in self._sums.items():
            means = sums / self._counts[stage]
            if not all(map(math.isfinite, means.tolist())):
                raise Diverged(f"the {stage} errors are no longer finite, expected a smaller learning_rate")
            self.log_dict({f"{stage}/{part}": float(m) for part, m in zip(("loss", *PARTS), means)})
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        self._sums.clear()
        self._counts.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["sums"], checkpoint["counts"] = dict(self._sums), dict(self._counts)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._sums, self._counts = dict(checkpoint["sums"]), dict(checkpoint["counts"])
