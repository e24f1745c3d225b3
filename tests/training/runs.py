"""Short runs without output, for the tests, and what they leave behind."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from pyg_equiformer import load_model
from pyg_equiformer.training import Structures, TrainConfig, TrainResult, train
from pyg_equiformer.training.engine import Callback


def quiet_train(structures: Structures | None, config: TrainConfig, **options: Any) -> TrainResult:
    return train(structures, config, console=Console(quiet=True), **options)


def state(folder: Path | str) -> dict[str, Tensor]:
    """Weights of the model in the folder of a run."""
    return load_model(Path(folder) / "model.pt").state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether both hold the same weights, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def numbers(metrics: Any) -> list[float]:
    """All values in the contents of a `metrics.json`."""
    if isinstance(metrics, dict):
        return [x for value in metrics.values() for x in numbers(value)]
    return [float(metrics)] if isinstance(metrics, (int, float)) else []


class PressCtrlC(Callback):
    """Press it after a step, or so many times before the next one."""

    def __init__(self, after=None, before=None, times=1):
        self.after, self.before, self.times = after, before, times

    def press(self):
        for _ in range(self.times):
            os.kill(os.getpid(), signal.SIGINT)

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.before:
            self.press()

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.after:
            self.press()
