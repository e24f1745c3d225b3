"""What a run saves while it goes on: its whole state, to go on from, and the model, to use."""

import time
from pathlib import Path
from typing import Any

from .. import checkpoints
from ..checkpoints import MODEL as MODEL
from .averaging import EMAWeights
from .engine import Callback, LightningModule, TorchCheckpointIO, Trainer
from .loop_task import LoopData, LoopTask
from .progress import StopOnInterrupt

STATE = "last.ckpt"  #: the state of the run, to go on from
SAVE_SECONDS = 60.0  #: time between two saves of the state, unless told otherwise


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes the state of a run whole or not at all, and so that it can be loaded without running any code in it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        checkpoints.atomic_save(checkpoint, path)


class SaveState(Callback):
    """Save the state of the run every so often, after whole optimizer steps.

    Args:
        path: of the file, which is replaced.
        every: steps between two saves; None: `SAVE_SECONDS` seconds.
        stop: tells whether Ctrl-C was pressed, which saves at once.
        fingerprint: of the data, see `Statistics.fingerprint`.
    """

    def __init__(self, path: Path, every: int | None, stop: StopOnInterrupt, fingerprint: dict[str, float]) -> None:
        self.path, self.every, self.stop, self.fingerprint = path, every, stop, fingerprint
        self._last, self._saved, self._after_validation = time.monotonic(), 0, False

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        batches = trainer.fit_loop.total_batch_idx + 1
        if batches % trainer.accumulate_grad_batches:
            return
        if self.stop.requested or self._due(trainer):
            if not self.stop.requested and _validates_next(trainer, batches):
                self._after_validation = True  # before it, a resumed run would leave it out
            else:
                self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._after_validation:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._last, self._after_validation = time.monotonic(), False

    def _due(self, trainer: Trainer) -> bool:
        if self.every is not None:
            return trainer.global_step - self._saved >= self.every
        late = time.monotonic() - self._last >= SAVE_SECONDS
        if trainer.world_size == 1:
            return late
        # One clock decides for all devices; asking it at every step would cost more than it is worth.
        return trainer.global_step % 10 == 0 and bool(trainer.strategy.broadcast(late))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = trainer.global_step

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._saved = trainer.global_step
        checkpoint["fingerprint"] = self.fingerprint

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        found, expected = checkpoint["fingerprint"], self.fingerprint
        differ = [
            k for k in expected if abs(expected[k] - found.get(k, float("nan"))) > 1e-9 * max(1, abs(expected[k]))
        ]
        if differ or set(found) != set(expected):
            told = ", ".join(f"{k} {found.get(k)} then, {expected[k]} now" for k in differ[:3])
            raise ValueError(f"the training data are not those that the run began with: {told or 'other targets'}")


def _validates_next(trainer: Trainer, batches: int) -> bool:
    """Whether a validation follows this step."""
    interval = trainer.val_check_batch
    return isinstance(interval, int) and batches % interval == 0


class SaveModel(Callback):
    """Write the averaged weights at validations, so that whatever happens there is a usable model.

    Args:
        path: of the file.
        weights: the averaged ones.
        select: which weights are kept, the "last" or the "best" ones.
        data: of the run, of which the file tells.
    """

    def __init__(self, path: Path, weights: EMAWeights, select: str, data: LoopData) -> None:
        self.path, self.weights, self.select, self.data = path, weights, select, data
        self.best = float("inf")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(trainer.callback_metrics.get("valid/loss", float("inf")))
        if self.select == "best" and not loss < self.best:
            return
        self.best = min(loss, self.best)
        averaged = self.weights.averaged
        assert isinstance(averaged, LoopTask)
        self._save(trainer, averaged)

    def finish(self, trainer: Trainer, task: LoopTask) -> None:
        """Write the last weights, or take back the best ones, at the end of the run."""
        if self.select == "last" or not self.path.exists():
            self._save(trainer, task)
        elif trainer.is_global_zero:
            task.restore(self.path)

    def _save(self, trainer: Trainer, task: LoopTask) -> None:
        if trainer.is_global_zero:
            task.save(self.path, self.data)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
