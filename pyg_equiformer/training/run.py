"""A whole training run, from structures to a folder with checkpoint, errors and figures."""

import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from .. import keys
from ..data import bundled_sample, read_structures
from ..models import EnergyForces, Equiformer, preset_config
from . import figures, report
from .config import TrainConfig
from .data_module import EnergyScale, StructureDataModule, Structures, fit_energy_scale
from .engine import Trainer, limited_threads, quiet, seed_everything
from .fit import CHECKPOINT, fit
from .folder import new_folder
from .memory import keep_freed_memory
from .progress import StopOnInterrupt
from .task import ForceFieldTask

if TYPE_CHECKING:
    from rich.console import Console


class Interrupted(Exception):
    """The run was ended by Ctrl-C; the message says where the model so far is."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Args:
        folder: of the run.
        model: the trained model, with averaged weights.
        metrics: the contents of `metrics.json`.
    """

    folder: Path
    model: EnergyForces
    metrics: dict[str, Any]


def train_sample(
    config: TrainConfig | None = None,
    *,
    out: str | Path | None = None,
    name: str | None = None,
    console: "Console | None" = None,
) -> TrainResult:
    """Train on the ethanol sample that ships with the package (GFN2-xTB, 500 K, 1000 + 250 frames).

    Args:
        config: settings of the run; None for the defaults.
        out: folder of the run, which must not hold anything yet; None makes `runs/<name>`.
        name: of the folder in `runs/`; a number is added if it exists already.
        console: where to show progress and results; None for standard output.

    Raises:
        ValueError: if `out` is not empty or a setting makes no sense.
        Interrupted: at Ctrl-C, after the model so far was saved.

    Example:
        >>> result = train_sample()  # doctest: +SKIP
        >>> result.metrics["test"]["forces_mae"]  # doctest: +SKIP
        {'value': 11.7, 'unit': 'meV/Å'}
    """
    structures = Structures(bundled_sample("train"), test=bundled_sample("test"), name="ethanol")
    return train(structures, config, out=out, name=name, console=console)


def train_file(
    path: str | Path,
    config: TrainConfig | None = None,
    *,
    test: str | Path | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    console: "Console | None" = None,
) -> TrainResult:
    """Train on an extended XYZ file with energies in eV and forces in eV/Å.

    Args:
        path: of the file; validation structures are taken from it at random.
        config: settings of the run; None for the defaults.
        test: a file with test structures; None takes `config.test_fraction` of the first file at random.
        out: folder of the run, which must not hold anything yet; None makes `runs/<name>`.
        name: of the folder in `runs/`; a number is added if it exists already.
        console: where to show progress and results; None for standard output.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is not what it should be, `out` is not empty, or a setting makes no sense.
        Interrupted: at Ctrl-C, after the model so far was saved.
    """
    tested = None if test is None else read_structures(test)
    structures = Structures(read_structures(path), test=tested, name=Path(path).name.split(".")[0])
    return train(structures, config, out=out, name=name, console=console)


def train(
    structures: Structures,
    config: TrainConfig | None = None,
    *,
    out: str | Path | None = None,
    name: str | None = None,
    console: "Console | None" = None,
) -> TrainResult:
    """Train a model on structures with energies and forces, test it, and write it all to a new folder.

    The folder holds `model.pt`, `metrics.json`, `parity.png`, `learning_curve.png`, `config.yaml` and the log
    `metrics.csv`.

    Args:
        structures: the training set, and perhaps a validation and a test set.
        config: settings of the run; None for the defaults.
        out: folder of the run, which must not hold anything yet; None makes `runs/<name>`.
        name: of the folder in `runs/`; a number is added if it exists already.
        console: where to show progress and results; None for standard output.

    Raises:
        ValueError: if labels are missing or not finite, an element of another set is not in the training set,
            `out` is not empty, or a setting makes no sense.
        Interrupted: at Ctrl-C, after the model so far was saved.
    """
    from rich.console import Console

    config = config or TrainConfig()
    console = console or Console()
    began = time.monotonic()
    with quiet(), limited_threads(config.threads):
        seed_everything(config.seed)
        keep_freed_memory()
        settings = preset_config(config.preset, **config.model)
        data = StructureDataModule(
            structures,
            cutoff=settings.cutoff,
            batch_size=config.batch_size,
            valid_fraction=config.valid_fraction,
            test_fraction=config.test_fraction,
            seed=config.seed,
        )
        if config.averages == "data":
            settings = settings.replace(**{**data.averages(), **config.model})
        network = Equiformer(settings)
        scale = fit_energy_scale(data.train)
        _check_elements(data, scale)
        model = EnergyForces(network, energy_scale=scale.scale, atomic_energies=scale.atomic_energies)
        folder = new_folder(out, name or structures.name)
        config.write(folder / "config.yaml")
        size = sum(p.numel() for p in model.parameters())
        console.print(
            f"[bold]{structures.name}[/]: {len(data.train)} structures to train, {len(data.valid)} to "
            f"validate, {len(data.test)} to test; model {config.preset} with {size:,} parameters → {folder}/",
            highlight=False,
        )
        task = ForceFieldTask(model, config, scale.scale)
        with StopOnInterrupt() as stop:
            try:
                trainer = fit(task, data, folder, console, stop)
                if not stop.requested:
                    return _finish(task, trainer, data, scale, folder, structures.name, console, began)
            except SystemExit:
                # What Lightning makes of a KeyboardInterrupt.
                if not stop.requested:
                    raise
    raise _interrupted(stop.steps, folder)


def _interrupted(steps: int, folder: Path) -> Interrupted:
    path = folder / CHECKPOINT
    left = f"the model so far is in {path}" if path.exists() else f"no model was saved in {folder} yet"
    return Interrupted(f"stopped by Ctrl-C after {steps} steps; {left}")


def _check_elements(data: StructureDataModule, scale: EnergyScale) -> None:
    for what, part in (("validation", data.valid), ("test", data.test)):
        found = {z for s in part for z in s[keys.Z].tolist()}
        if unknown := sorted(found - set(scale.atomic_energies)):
            raise ValueError(
                f"the {what} set has atomic numbers {unknown}, which the training set "
                f"({sorted(scale.atomic_energies)}) does not have"
            )


def _finish(
    task: ForceFieldTask,
    trainer: Trainer,
    data: StructureDataModule,
    scale: EnergyScale,
    folder: Path,
    title: str,
    console: "Console",
    began: float,
) -> TrainResult:
    """Test the averaged weights, write errors and figures, and show the table."""
    steps = trainer.global_step
    metrics: dict[str, dict[str, Any]] = {}
    for split, part in (("test", data.test), ("valid", data.valid)):
        outputs = cast(list[dict[str, torch.Tensor]], trainer.predict(task, data.evaluation_dataloader(part)))
        predictions = report.Predictions.collect(outputs, part, scale.atomic_energies)
        metrics[split] = report.errors(predictions)
        if split == "test":
            figures.plot_parity(folder / "parity.png", predictions, f"{title}: {len(part)} test structures")
    figures.plot_learning_curve(
        folder / "learning_curve.png", figures.read_history(folder / "metrics.csv"), f"{title}: training"
    )
    seconds = time.monotonic() - began
    metrics["run"] = {
        "wall_time": {"value": round(seconds, 1), "unit": "s"},
        "steps": steps,
        "training_structures": len(data.train),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "seed": task.config.seed,
        "device": str(trainer.strategy.root_device),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    report.write_metrics(folder / "metrics.json", metrics)
    console.print(report.error_table(metrics["test"], f"{title}: errors on {len(data.test)} test structures"))
    console.print(f"{seconds:.0f} s; model, errors and figures are in {folder}/", highlight=False)
    assert isinstance(task.model, EnergyForces)
    return TrainResult(folder, task.model, metrics)
