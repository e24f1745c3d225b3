"""A whole training run, from structures to a folder with checkpoint, errors, figures and a report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..data.structure_sets import Structures
from .build import Plan, build, network_config
from .config import TrainConfig
from .data_module import StructureDataModule
from .describe import describe
from .engine import Callback, Trainer, is_first_process, limited_threads, quiet, seed_everything
from .finish import METRICS, Tested, judge
from .fit import fit
from .folder import COMMITTEE, CONFIG, check_new, existing_run, new_folder
from .loggers import check_loggers
from .memory import keep_freed_memory
from .progress import StopOnInterrupt
from .saving import MODEL, STATE
from .sources import open_sources
from .task import TrainingTask

if TYPE_CHECKING:
    from rich.console import Console


class Interrupted(Exception):
    """The run was ended by Ctrl-C or SIGTERM; the message says where the model so far is and how to go on."""


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Args:
        folder: of the run.
        model: the trained model, with averaged weights.
        metrics: the contents of `metrics.json`; {} in all but the first process of a run on several devices.
    """

    folder: Path
    model: nn.Module
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A run before its first step."""

    data: StructureDataModule
    plan: Plan
    task: TrainingTask


def prepare(structures: Structures, config: TrainConfig) -> Prepared:
    """Split the data, find neighbours, fit references and build the model, without writing anything.

    Raises:
        ValueError: if labels are missing or not finite, an element of another set is not in the training set, or a
            setting makes no sense.
    """
    seed_everything(config.seed, verbose=False)
    # The cutoff does not depend on the averages, and they depend on it.
    cutoff = network_config(config, structures.targets, None).cutoff
    data = StructureDataModule(structures, cutoff=cutoff, config=config)
    if data.statistics.num_atoms.max() > 1 and not data.statistics.num_edges.any():
        raise ValueError(
            f"no two atoms of the training set are within {cutoff:g} Å of each other, expected a larger model.cutoff "
            "or another units.length"
        )
    plan = build(config, structures.targets, data.statistics)
    task = TrainingTask(plan.model, plan.terms, config, plan.scales)
    return Prepared(data, plan, task.double() if config.precision == "float64" else task)


def train(
    structures: Structures | None = None,
    config: TrainConfig | None = None,
    *,
    out: str | Path | None = None,
    name: str | None = None,
    console: "Console | None" = None,
    callbacks: list[Callback] | None = None,
) -> TrainResult:
    """Train a model, test it, and write it all to a new folder.

    The folder holds `model.pt`, `metrics.json`, `report.md`, `parity.png`, `learning_curve.png`, `config.yaml`, the
    log `metrics.csv` and the state `last.ckpt`, from which `resume` goes on.

    Args:
        structures: the training set, and perhaps validation and test sets; None: what `config.data` names, and
            without a name the ethanol sample that comes with the package (GFN2-xTB, 500 K, 1000 + 250 frames).
        config: settings of the run; None for the defaults.
        out: folder of the run, which must not hold anything yet; None makes `runs/<name>`.
        name: of the folder in `runs/`; a number is added if it exists already.
        console: where to show progress and results; None for standard output.
        callbacks: of Lightning, to look on.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if labels are missing or not finite, an element of another set is not in the training set,
            `out` is not empty, or a setting makes no sense.
        Interrupted: at Ctrl-C, after the state of the run was saved.

    Example:
        >>> result = train()  # doctest: +SKIP
        >>> result.metrics["test"]["forces_mae"]  # doctest: +SKIP
        {'value': 11.3, 'unit': 'meV/Å'}
    """
    config, handed_over = config or TrainConfig(), structures is not None
    check_new(out, name or "run")  # before anything is read
    structures = structures if structures is not None else open_sources(config)
    return _run(structures, config, lambda: new_folder(out, name or structures.name), console, callbacks, handed_over)


def resume(
    folder: str | Path, *, structures: Structures | None = None, console: "Console | None" = None
) -> TrainResult:
    """Go on with a run that was interrupted, from its last saved state to its end.

    On a CPU the final weights are, bit for bit, those of a run that was never interrupted; a run that the clock
    ends trains for what is left of its time.

    Args:
        folder: of the run.
        structures: those that the run began with; None: what its settings name.
        console: where to show progress and results; None for standard output.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if the run has no saved state, or the data have changed.
        Interrupted: at Ctrl-C, after the state of the run was saved.
    """
    folder = existing_run(folder)
    if (folder / COMMITTEE).is_file():
        from .committee import resume_committee

        return resume_committee(folder, structures=structures, console=console)
    if not (folder / STATE).is_file() and (folder / METRICS).is_file():
        raise ValueError(f"{folder} is done, there is nothing to go on with: its results are in {folder / 'report.md'}")
    if not (folder / STATE).is_file():
        raise ValueError(f"{folder} has no saved state {STATE}: the run ended before its first save; train anew")
    config = TrainConfig.load(folder / CONFIG)
    handed_over = structures is not None
    structures = structures if structures is not None else open_sources(config)
    return _run(structures, config, lambda: folder, console, None, handed_over, resumed=True)


def _run(
    structures: Structures,
    config: TrainConfig,
    place: Callable[[], Path],
    console: "Console | None",
    callbacks: list[Callback] | None,
    handed_over: bool,
    resumed: bool = False,
) -> TrainResult:
    from rich.console import Console

    console = Console(quiet=True) if not is_first_process() else console or Console()
    began = time.monotonic()
    with quiet(), limited_threads(config.threads):
        keep_freed_memory()
        check_loggers(config.loggers)
        prepared = prepare(structures, config)
        task, data = prepared.task, prepared.data
        folder = place()  # not before everything is known to fit
        if is_first_process() and not resumed:
            config.write(folder / CONFIG)
        console.print(describe(structures, data, task, config, folder), highlight=False, soft_wrap=True)
        with StopOnInterrupt() as stop:
            try:
                trainer: Trainer = fit(task, data, folder, console, stop, resume=resumed, callbacks=callbacks)
                stop.check()
                facts = {"steps": trainer.global_step, "seed": config.seed}
                seconds = task.elapsed_before + time.monotonic() - began
                tested = Tested(task.model, data, structures, config, folder, facts, seconds, handed_over)
                metrics = judge(tested, console, stop.check) if is_first_process() else {}
                return TrainResult(folder, task.model, metrics)
            except (SystemExit, KeyboardInterrupt):
                # Lightning turns a KeyboardInterrupt into a SystemExit.
                if not stop.requested:
                    raise
    raise Interrupted(_interrupted(stop, folder))


def _interrupted(stop: StopOnInterrupt, folder: Path) -> str:
    left = (
        f"the model so far is in {folder / MODEL}"
        if (folder / MODEL).exists()
        else f"no model was saved in {folder} yet"
    )
    if (folder / STATE).exists():
        left += f"; go on with: pyg-equiformer resume {folder}"
    return f"stopped by {stop.reason} after {stop.steps} steps; {left}"
