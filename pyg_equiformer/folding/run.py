"""A training of `EquiFold`, from structures to a folder."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch_geometric.data import Data

from ..data.protein_chains import read_protein_chains
from ..training.engine import limited_threads, quiet, seed_everything
from ..training.fit import fit
from ..training.folder import CONFIG, check_new, new_folder
from ..training.hardware import hardware
from ..training.loggers import check_loggers
from ..training.memory import keep_freed_memory
from ..training.progress import StopOnInterrupt
from ..training.run import Interrupted
from ..training.saving import MODEL, STATE
from ..training.whole_files import whole_file
from .config import EquiFoldConfig
from .curves import plot_course
from .equifold import EquiFold
from .graph import fold_edges
from .structures import Split, entries_of, split_entries, training_data, unpacked
from .task import FoldData, FoldingTask
from .templates import fit_templates
from .train_config import FoldTrainConfig

if TYPE_CHECKING:
    from rich.console import Console

METRICS = "metrics.json"


def train_fold(
    config: FoldTrainConfig,
    out: str | Path | None = None,
    *,
    split: Split | None = None,
    name: str = "fold",
    console: "Console | None" = None,
) -> Path:
    """Train `EquiFold` on structures, and return the folder of the run.

    It holds `model.pt`, `config.yaml`, `metrics.json`, `learning_curve.png`, the log `metrics.csv` and the state
    `last.ckpt`, from which `resume_fold` goes on.

    Args:
        config: settings; `config.structures` names what to train on, unless `split` is given.
        out: folder of the run, new or empty; None makes `runs/<name>`.
        split: chains that were read and divided before.
        name: of the folder in `runs/`.
        console: where to show progress. None: standard output.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for settings or structures that do not fit.
        Interrupted: at Ctrl-C, after the state of the run was saved.
    """
    check_new(out, name)
    split = read_split(config) if split is None else split
    return _run(config, split, lambda: new_folder(out, name), console, resumed=False)


def resume_fold(folder: str | Path, *, split: Split | None = None, console: "Console | None" = None) -> Path:
    """Go on with a training that was interrupted, from its last saved state to its end.

    Args:
        folder: of the run.
        split: that the run began with, where its settings do not name files.
        console: where to show progress.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if it has no saved state, is done, or the data have changed.
    """
    folder = Path(folder)
    config = FoldTrainConfig.load(folder / CONFIG)
    if not (folder / STATE).is_file():
        raise ValueError(f"{folder} has no saved state {STATE}: it ended before its first save; train anew")
    if (folder / METRICS).is_file():
        raise ValueError(f"{folder} is done, there is nothing to go on with: its model is {folder / MODEL}")
    split = read_split(config) if split is None else split
    return _run(config, split, lambda: folder, console, resumed=True)


def read_split(config: FoldTrainConfig) -> Split:
    """Read the structures of a run and set some apart.

    Raises:
        ValueError: if none are named, or they cannot be divided.
    """
    if not config.structures:
        raise ValueError("expected structures to train on, got none")
    chains, tally = read_protein_chains([*config.structures], "heavy")
    if config.valid:
        valid, more = read_protein_chains([*config.valid], "heavy")
        split = Split(entries_of(chains), entries_of(valid), [])
        tally = tally + more
    else:
        split = split_entries(chains, config.valid_fraction, config.seed, config.identity)
    shapes = read_protein_chains([*config.templates], "heavy").chains if config.templates else []
    return split._replace(notes=[*_told(tally), *split.notes], templates=shapes)


def _told(tally: "Counter[str]") -> list[str]:
    return [f"{count} {what}" for what, count in tally.items()]


def prepare_fold(config: FoldTrainConfig, split: Split) -> tuple[FoldingTask, FoldData, list[str]]:
    """Fit templates to the training chains, build the model, and return both with notes for the user."""
    seed_everything(config.seed, verbose=False)
    templates = fit_templates([*(chain for entry in split.train for chain in entry), *split.templates])
    train, valid = ([_single(training_data(e, templates)) for e in part] for part in (split.train, split.valid))
    notes = list(split.notes)
    count = sum(unpacked(chain) for part in (split.train, split.valid) for entry in part for chain in entry)
    if count:
        notes.append(f"{count} chains with side chains that were never packed: only their backbone and CB count")
    settings = config.fold_config()
    model = EquiFold(settings, templates, _degree(settings, train))
    task = FoldingTask(model, config)
    data = FoldData(train, valid, config)
    if config.precision == "float64":
        task = task.double()
    return task, data, notes


def _single(data: Data) -> Data:
    for key in ("rotation", "origin", "pos_true"):
        data[key] = data[key].to(torch.get_default_dtype())
    return data


def _degree(settings: EquiFoldConfig, proteins: Sequence[Data]) -> float:
    """Mean number of neighbours at the true places, of some proteins."""
    edges = groups = 0
    for p in proteins[:20]:
        zero = torch.zeros_like(p.residue)
        found, _ = fold_edges(
            p.origin, p.group_place, p.group_chain, zero,
            cutoff=settings.cutoff, num_neighbors=settings.num_neighbors, reach=settings.sequence_reach,
        )  # fmt: skip
        edges, groups = edges + found.shape[1], groups + len(zero)
    return max(1.0, edges / max(1, groups))


def _run(config: FoldTrainConfig, split: Split, place: Any, console: "Console | None", resumed: bool) -> Path:
    from rich.console import Console

    console = console or Console()
    began = time.monotonic()
    with quiet(), limited_threads(config.threads):
        keep_freed_memory()
        check_loggers(config.loggers)
        task, data, notes = prepare_fold(config, split)
        folder: Path = place()
        if not resumed:
            config.write(folder / CONFIG)
        weights = sum(p.numel() for p in task.model.parameters())
        told = f"{len(data.train)} proteins to train on, {len(data.valid)} to watch, {weights:,} weights → {folder}/"
        for line in (*notes, told):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        with StopOnInterrupt() as stop:
            try:
                trainer = fit(task, data, folder, console, stop, resume=resumed)
                stop.check()
                seconds = task.elapsed_before + time.monotonic() - began
                _finish(folder, task, data, trainer, seconds)
                console.print(f"model, metrics and curves are in {folder}/", highlight=False, soft_wrap=True)
                return folder
            except (SystemExit, KeyboardInterrupt):
                if not stop.requested:
                    raise
    raise Interrupted(
        f"stopped by {stop.reason} after {stop.steps} steps; go on with: pyg-equiformer resume {folder}"
        if (folder / STATE).exists()
        else f"stopped by {stop.reason} before the first save of {folder}"
    )


def _finish(folder: Path, task: FoldingTask, data: FoldData, trainer: Any, seconds: float) -> None:
    """Write the last errors and the curves."""
    found = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" in k}
    content = {
        "validation": {k.partition("/")[2]: v for k, v in found.items() if k.startswith("valid/")},
        "training": {k.partition("/")[2]: v for k, v in found.items() if k.startswith("train/")},
        "proteins": {"train": len(data.train), "valid": len(data.valid)},
        "steps": trainer.global_step,
        "seconds": {"value": round(seconds, 1), "unit": "s"},
        "hardware": hardware(),
    }
    with whole_file(folder / METRICS) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot_course(folder)
