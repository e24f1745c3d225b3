"""Training with Lightning: task, data module, losses, weight averaging, committees, evaluation, figures, reports.

The names below are imported on first use, so that `pyg_equiformer.training.losses` and the configuration can
be had without Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..data.structure_sets import Structures, StructureSet, Target

if TYPE_CHECKING:
    from .committee import train_committee
    from .config import TrainConfig
    from .data_module import StructureDataModule
    from .describe import dry_run
    from .evaluation import evaluate, load_run, predict_file
    from .losses import target_error
    from .predictions import Predictions, predict
    from .published import published
    from .recipes import load_recipe, recipe_names, resolve
    from .run import Interrupted, TrainResult, resume, train
    from .task import TrainingTask

_HOMES = {
    "Interrupted": "run",
    "Predictions": "predictions",
    "StructureDataModule": "data_module",
    "TrainConfig": "config",
    "TrainResult": "run",
    "TrainingTask": "task",
    "dry_run": "describe",
    "evaluate": "evaluation",
    "load_recipe": "recipes",
    "load_run": "evaluation",
    "predict": "predictions",
    "predict_file": "evaluation",
    "published": "published",
    "recipe_names": "recipes",
    "resolve": "recipes",
    "resume": "run",
    "target_error": "losses",
    "train": "run",
    "train_committee": "committee",
}

__all__ = [
    "Interrupted",
    "Predictions",
    "StructureDataModule",
    "StructureSet",
    "Structures",
    "Target",
    "TrainConfig",
    "TrainResult",
    "TrainingTask",
    "dry_run",
    "evaluate",
    "load_recipe",
    "load_run",
    "predict",
    "predict_file",
    "published",
    "recipe_names",
    "resolve",
    "resume",
    "target_error",
    "train",
    "train_committee",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
