"""Lightning, imported in this one place and told to be quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

try:
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
    from lightning.pytorch.callbacks import WeightAveraging
    from lightning.pytorch.loggers import CSVLogger, Logger
    from lightning.pytorch.plugins.io import TorchCheckpointIO
    from lightning.pytorch.strategies import DDPStrategy
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
except ImportError as error:
    raise ImportError('training needs Lightning: pip install "pyg_equiformer[train]"') from error

__all__ = [
    "CSVLogger",
    "Callback",
    "DDPStrategy",
    "LightningDataModule",
    "LightningModule",
    "Logger",
    "OptimizerLRSchedulerConfig",
    "TorchCheckpointIO",
    "Trainer",
    "WeightAveraging",
    "is_first_process",
    "limited_threads",
    "quiet",
    "seed_everything",
]

# Each of these is either said better by our own output or no news for small in-memory datasets.
_CHATTER = (
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*exists and is not empty.*",
    ".*Trying to infer the `batch_size`.*",
    ".*GPU available but not used.*",
    ".*MPS available but not used.*",
    ".*Experiment logs directory.*",
    ".*LeafSpec.*",
    # What is logged are sums over all devices already.
    ".*sync_dist=True.*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's greetings, tips and worries about data workers off the screen."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in _CHATTER:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def is_first_process() -> bool:
    """Tell whether this is the process that writes files and speaks, of a run on any number of devices."""
    return getattr(rank_zero_only, "rank", 0) in (0, None)


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use `count` CPU threads for a while; None leaves its own choice."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
