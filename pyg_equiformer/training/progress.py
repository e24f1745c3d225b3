"""What a run shows while it goes on, and how Ctrl-C ends it."""

import signal
import threading
import time
from types import FrameType
from typing import Any

from .engine import Callback, LightningModule, Trainer
from .loop_task import LoopTask

try:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskID,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
except ImportError as error:
    raise ImportError('the progress bar needs rich: pip install "pyg_equiformer[train]"') from error


class ProgressReport(Callback):
    """One bar for the whole run, with the time left and the latest validation errors.

    On a terminal the bar moves; elsewhere one line is printed per validation.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress: Progress | None = None
        self._bar = TaskID(0)
        self._start = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.monotonic()
        self._progress = Progress(
            TextColumn("[bold]training[/]"),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            # The errors take what is left of the line: bar and times always show.
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=self.console,
            expand=True,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._bar = self._progress.add_task("", total=1.0)
        self._progress.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._progress is not None and isinstance(pl_module, LoopTask):
            self._progress.update(self._bar, completed=pl_module.progress(trainer.global_step))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, LoopTask)
        errors = pl_module.validation_errors()
        if self._progress is not None and self.console.is_terminal:
            self._progress.update(self._bar, description=f"validation: {errors}")
        else:
            seconds = time.monotonic() - self._start
            self.console.print(
                f"step {trainer.global_step}, {seconds:.0f} s, validation: {errors}", highlight=False, soft_wrap=True
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")


class StopOnInterrupt(Callback):
    """End the training in good order at Ctrl-C or SIGTERM, after the step under way; a second one ends it at once.

    Use it as a context manager around the work of a trainer, and as one of its callbacks.
    """

    def __init__(self) -> None:
        self.requested = False
        self.steps = 0  #: steps done
        self.reason = "Ctrl-C"  #: what asked for the end
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopOnInterrupt":
        # Python delivers signals to the main thread alone and refuses handlers elsewhere.
        if threading.current_thread() is threading.main_thread():
            self._previous = {n: signal.signal(n, self._handle) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested, self.reason = True, "Ctrl-C" if number == signal.SIGINT else "SIGTERM"

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.steps = trainer.global_step
        if trainer.world_size > 1:
            # The signal reaches the processes between different steps: all stop where the first one has it.
            self.requested = bool(trainer.strategy.reduce_boolean_decision(self.requested, all=False))
        if self.requested:
            trainer.should_stop = True

    def check(self, *_: Any) -> None:
        """Raise a KeyboardInterrupt if the end was asked for; called between the batches of an evaluation."""
        if self.requested:
            raise KeyboardInterrupt
