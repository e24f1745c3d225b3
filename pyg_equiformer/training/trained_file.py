"""The file of a trained model."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from .. import checkpoints
from ..data.structure_sets import Target
from .config import TrainConfig


def save_trained(
    path: Path, model: nn.Module, config: TrainConfig, targets: Sequence[Target], elements: Sequence[int]
) -> None:
    """Write a model whole or not at all, with the settings of its training, what it predicts and for which elements."""
    told = {
        "training": config.to_dict(),
        "targets": [dataclasses.asdict(t) for t in targets],
        "elements": [int(z) for z in elements],
    }
    checkpoints.save_model(path, model, **told)  # type: ignore[arg-type]
