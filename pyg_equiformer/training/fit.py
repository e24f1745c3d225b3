"""The training loop: Lightning's, with our callbacks."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import checkpoints
from ..models import EnergyForces
from .averaging import EMAWeights
from .config import TrainConfig
from .data_module import StructureDataModule
from .engine import Callback, CSVLogger, LightningModule, Trainer
from .progress import ProgressReport, StopOnInterrupt
from .task import ForceFieldTask

if TYPE_CHECKING:
    from rich.console import Console

CHECKPOINT = "model.pt"  #: name of the checkpoint in a run's folder


def fit(
    task: ForceFieldTask,
    data: StructureDataModule,
    folder: Path,
    console: "Console",
    stop: StopOnInterrupt,
) -> Trainer:
    """Run the loop; afterwards the task has the averaged weights, and so has the checkpoint in the folder.

    Args:
        task: what to train.
        data: what to train it on.
        folder: for checkpoint and log.
        console: where to show progress.
        stop: tells whether Ctrl-C was pressed.
    """
    config, weights = task.config, EMAWeights(task.config.ema_decay)
    trainer = Trainer(
        # "auto" would also take Apple's GPU, which lacks the float64 of energies.
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=1,
        max_epochs=config.epochs or -1,
        max_time=None if config.max_time is None else timedelta(seconds=config.max_time),
        gradient_clip_val=config.gradient_clip,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[weights, _SaveModel(folder / CHECKPOINT, weights), ProgressReport(console), stop],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        # Forces are derivatives: inference mode would forbid them.
        inference_mode=False,
        **_validation_interval(config, len(data.train_dataloader())),
    )
    trainer.fit(task, data)
    _save(folder / CHECKPOINT, task)
    return trainer


class _SaveModel(Callback):
    """Write the averaged weights at every validation, so that whatever happens there is a usable model."""

    def __init__(self, path: Path, weights: EMAWeights) -> None:
        self.path, self.weights = path, weights

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        averaged = self.weights.averaged
        assert isinstance(averaged, ForceFieldTask)
        _save(self.path, averaged)


def _save(path: Path, task: ForceFieldTask) -> None:
    assert isinstance(task.model, EnergyForces)
    checkpoints.save_model(path, task.model, training=task.config.to_dict())


def _validation_interval(config: TrainConfig, steps_per_epoch: int) -> dict[str, Any]:
    if config.epochs is None:
        assert config.max_time is not None
        return {"val_check_interval": timedelta(seconds=config.max_time / config.validations)}
    steps = config.epochs * steps_per_epoch
    return {"val_check_interval": max(1, steps // config.validations), "check_val_every_n_epoch": None}
