"""A run in a process of its own, to be killed: `python -m tests.training.resumed_run FOLDER train|resume STEP`."""

import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from pyg_equiformer.training import Structures, TrainConfig, resume, train
from pyg_equiformer.training.engine import Callback

from .conftest import TINY, water

#: Dropout, shuffling, averaging, accumulation and validations on; five passes of seven batches.
CONFIG = TrainConfig(
    model={**TINY, "attn_dropout": 0.2, "proj_dropout": 0.1, "drop_path": 0.1},
    epochs=5,
    batch_size=3,
    ema_decay=0.9,
    validations=4,
    checkpoint_every=3,
)


def structures() -> Structures:
    """Water molecules, the same in every process."""
    return Structures(
        [water(i) for i in range(20)], valid=[water(50)], test=[water(i) for i in range(100, 103)], name="water"
    )


class KillAt(Callback):
    """End the process without any warning after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, what: str, step: int, config: TrainConfig = CONFIG) -> None:
    console = Console(quiet=True)
    if what == "train":
        train(structures(), config, out=folder, console=console, callbacks=[KillAt(step)])
    else:
        resume(folder, structures=structures(), console=console)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
