"""The training loop: Lightning's, with our callbacks."""

import math
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from .averaging import EMAWeights
from .engine import Callback, DDPStrategy, Trainer
from .loggers import make_loggers
from .loop_task import LoopData, LoopSettings, LoopTask
from .progress import ProgressReport, StopOnInterrupt
from .saving import MODEL, STATE, AtomicCheckpointIO, SaveModel, SaveState

if TYPE_CHECKING:
    from rich.console import Console

_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "64-true"]] = {
    "float32": "32-true",
    "tf32": "32-true",
    "bf16": "bf16-mixed",
    "float64": "64-true",
}


def fit(
    task: LoopTask,
    data: LoopData,
    folder: Path,
    console: "Console",
    stop: StopOnInterrupt,
    *,
    resume: bool = False,
    callbacks: list[Callback] | None = None,
) -> Trainer:
    """Run the loop; afterwards the task has the weights that are kept, and so has the checkpoint in the folder.

    Args:
        task: what to train.
        data: what to train it on.
        folder: for checkpoints and logs.
        console: where to show progress.
        stop: tells whether Ctrl-C was pressed.
        resume: go on from the state in the folder.
        callbacks: further ones.
    """
    config, weights, devices = task.settings, EMAWeights(task.settings.ema_decay), _devices(task.settings)
    # How many batches a pass has depends on the number of devices; which of them are ours, the trainer tells.
    data.place(0, devices["devices"] * devices["num_nodes"])
    model = SaveModel(folder / MODEL, weights, config.select, data)
    resumed_at = torch.load(folder / STATE, weights_only=True, map_location="cpu")["global_step"] if resume else None
    state = SaveState(folder / STATE, config.checkpoint_every, stop, data.fingerprint())
    trainer = Trainer(
        **devices,
        precision=_PRECISION[config.precision],
        # The stream of batches is one epoch long, however many passes it makes over the data.
        max_epochs=1,
        max_time=None if config.max_time is None else timedelta(seconds=config.max_time),
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.gradient_clip,
        logger=make_loggers(folder, config.loggers, resumed_at),
        callbacks=[weights, model, *(callbacks or []), ProgressReport(console), stop, state],
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        # The stream deals the batches to the devices itself.
        use_distributed_sampler=False,
        # Forces are derivatives: inference mode would forbid them.
        inference_mode=False,
        **_validations(config, data),
    )
    data.place(trainer.global_rank, trainer.world_size)
    if config.epochs is not None:
        # Not Lightning's estimate: it would open the stream before a resumed run has told it where to go on.
        task.steps = math.ceil(config.epochs * data.batches_per_pass() / config.accumulate)
    with _matmul_precision(config):
        trainer.fit(task, data, ckpt_path=folder / STATE if resume else None, weights_only=True)
    model.finish(trainer, task)
    return trainer


def _devices(config: LoopSettings) -> dict[str, Any]:
    """Devices, nodes and strategy; torchrun's own numbers win where it started the process."""
    devices = max(1, torch.cuda.device_count()) if config.devices == "auto" else config.devices
    nodes = config.nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    several = devices > 1 or nodes > 1
    return {
        # "auto" would also take Apple's GPU, which lacks the float64 of energies.
        "accelerator": "cuda" if torch.cuda.is_available() else "cpu",
        "devices": devices,
        "num_nodes": nodes,
        # A network may have weights that a target does not depend on, such as those of vectors in a last layer.
        "strategy": DDPStrategy(find_unused_parameters=True, forward_sync_buffers=False) if several else "auto",
    }


def _validations(config: LoopSettings, data: LoopData) -> dict[str, Any]:
    if config.max_time is not None:
        return {"val_check_interval": timedelta(seconds=config.max_time / config.validations)}
    assert config.epochs is not None
    batches = config.epochs * data.batches_per_pass()
    return {"val_check_interval": max(1, batches // config.validations), "check_val_every_n_epoch": None}


class _matmul_precision:
    """TF32 or full float32 products, for a while."""

    def __init__(self, config: LoopSettings) -> None:
        self.wanted = "high" if config.precision == "tf32" else None

    def __enter__(self) -> None:
        self.before = torch.get_float32_matmul_precision()
        if self.wanted:
            torch.set_float32_matmul_precision(self.wanted)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self.before)
