"""Training of energy-and-forces models with Lightning: task, data module, losses, weight averaging, figures.

The names below are imported on first use, so that `pyg_equiformer.training.losses` and the configuration can
be had without Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import TrainConfig
    from .data_module import StructureDataModule, Structures, fit_energy_scale
    from .losses import energy_loss, force_loss
    from .run import Interrupted, TrainResult, train, train_file, train_sample
    from .task import ForceFieldTask

_HOMES = {
    "TrainConfig": "config",
    "StructureDataModule": "data_module",
    "Structures": "data_module",
    "fit_energy_scale": "data_module",
    "energy_loss": "losses",
    "force_loss": "losses",
    "Interrupted": "run",
    "TrainResult": "run",
    "train": "run",
    "train_file": "run",
    "train_sample": "run",
    "ForceFieldTask": "task",
}

__all__ = [
    "ForceFieldTask",
    "Interrupted",
    "StructureDataModule",
    "Structures",
    "TrainConfig",
    "TrainResult",
    "energy_loss",
    "fit_energy_scale",
    "force_loss",
    "train",
    "train_file",
    "train_sample",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
