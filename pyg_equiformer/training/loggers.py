"""Where the course of a run is written: always `metrics.csv`, on demand TensorBoard and Weights & Biases."""

import csv
import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .engine import CSVLogger, Logger, is_first_process

LOG = "metrics.csv"  #: errors and learning rate at each validation


def make_loggers(folder: Path, kinds: Sequence[str], resumed_at: int | None = None) -> list[Logger]:
    """Return the loggers of a run.

    Args:
        folder: of the run.
        kinds: further ones beside the CSV log: "tensorboard", "wandb".
        resumed_at: step that a resumed run goes on from: what was logged before it is kept.

    Raises:
        ImportError: if the package of a logger is not installed.
    """
    loggers: list[Logger] = [_csv_logger(folder, resumed_at)]
    if "tensorboard" in kinds:
        loggers.append(_tensorboard_logger(folder))
    if "wandb" in kinds:
        loggers.append(_wandb_logger(folder))
    return loggers


def check_loggers(kinds: Sequence[str]) -> None:
    """Raise an `ImportError` that names the extra if the package of a logger is not installed."""
    for kind in kinds:
        if find_spec(kind) is None:
            raise ImportError(f'loggers: {kind} is not installed: pip install "pyg_equiformer[{kind}]"')


def _csv_logger(folder: Path, resumed_at: int | None) -> CSVLogger:
    path, earlier = folder / LOG, []
    if resumed_at is not None and path.exists() and is_first_process():
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
        # Steps count from 0: those from `resumed_at` on are taken, and logged, once more.
        earlier = [row for row in rows if int(row["step"]) < resumed_at]
    logger = CSVLogger(folder, name="", version="")
    if earlier:
        # Lightning starts a new file: hand it the old lines.
        logger.experiment.metrics = earlier
        logger.experiment.save()
    return logger


def _tensorboard_logger(folder: Path) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise ImportError('loggers: tensorboard is not installed: pip install "pyg_equiformer[tensorboard]"') from error


def _wandb_logger(folder: Path) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    # Kept in the folder, so that a resumed run goes on with the same curves.
    identity = folder / "wandb_id"
    run = identity.read_text() if identity.exists() else uuid.uuid4().hex[:12]
    try:
        logger = WandbLogger(name=folder.name, save_dir=folder, project="pyg_equiformer", id=run, resume="allow")
    except ModuleNotFoundError as error:
        raise ImportError('loggers: wandb is not installed: pip install "pyg_equiformer[wandb]"') from error
    if is_first_process():
        identity.write_text(run)
    return logger
