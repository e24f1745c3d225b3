"""Using a trained model on structures: errors against labels, and predictions in a file."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import checkpoints
from ..data.labels import LabelMissing
from ..data.structure_sets import StructureSet, Target
from . import figures, report
from .build import config_of
from .config import TrainConfig
from .predictions import Predictions, predict
from .recipes import merge
from .saving import MODEL
from .set_checks import Checked, ElementCheck
from .sources import check_units, open_source
from .writers import check_output, write_predictions

if TYPE_CHECKING:
    from rich.table import Table

Progress = Callable[[int, int], Any]


@dataclass(frozen=True)
class TrainedRun:
    """A trained model and what it was trained on.

    Args:
        model: in evaluation mode.
        config: settings of its training.
        targets: what it predicts.
        elements: atomic numbers that it was trained on.
        path: of the file.
    """

    model: nn.Module
    config: TrainConfig
    targets: tuple[Target, ...]
    elements: tuple[int, ...]
    path: Path


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model on a set of structures.

    Args:
        metrics: the contents of `metrics.json`.
        table: the errors, for the terminal.
        folder: with `metrics.json` and `parity.png`.
        notes: what was left out of the data, and why.
    """

    metrics: dict[str, Any]
    table: "Table"
    folder: Path
    notes: tuple[str, ...]


def load_run(path: str | Path) -> TrainedRun:
    """Load the model of a run, a committee's included.

    Args:
        path: folder of the run, its `model.pt`, or a folder to pass on (`hub`).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no model that was trained by `train`.
    """
    file = checkpoints.find_model(path)
    extra = checkpoints.read_extra(file)
    if "training" not in extra or "targets" not in extra:
        raise ValueError(f"{file} was not trained by pyg-equiformer train, expected the {MODEL} of a run")
    targets = tuple(Target(**t) for t in extra["targets"])
    model = checkpoints.load_model(file)
    # Elements that were trained on, or at least those that the network has weights for.
    elements = tuple(extra.get("elements") or config_of(model).elements)
    return TrainedRun(model, TrainConfig.from_dict(extra["training"]), targets, elements, file)


def default_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def evaluate(
    run: str | Path,
    data: str,
    *,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare a model's predictions with labels, and write errors and parity figure to a new folder.

    Args:
        run: folder of a run, or its `model.pt`.
        data: labelled structures, whatever `train` takes.
        settings: settings in place of the run's, such as {"read": {"bad_frames": "skip"}}.
        out: folder for the results, which must not exist; None: `eval-<data>` in the run's folder.
        progress: called with the structures done and in all.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the data lack the labels, have unknown elements, or `out` exists.
    """
    trained = load_run(run)
    opened = _open(trained, data, settings)
    name = opened.name.replace("/", "-")
    folder = Path(out) if out is not None else trained.path.parent / f"eval-{name}"
    if folder.exists():
        raise ValueError(f"{folder} exists already, expected a new folder for the results (--out DIR)")
    predictions = _predict(trained, opened, progress)
    if not predictions.true:
        raise ValueError(f"{data} has no labels to compare with, expected {', '.join(t.name for t in trained.targets)}")
    metrics = {name: report.errors(predictions)}
    folder.mkdir(parents=True)
    report.write_metrics(folder / "metrics.json", metrics)
    figures.plot_parity(folder / "parity.png", predictions, f"{name}: {len(opened)} structures")
    table = report.error_table({name: metrics[name]}, title=f"{name}: errors on {len(opened)} structures")
    return Evaluation(metrics, table, folder, opened.notes)


def predict_file(
    run: str | Path,
    structures: str,
    out: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[tuple[str, ...], int]:
    """Write a model's predictions for structures, labelled or not, to a file.

    Args:
        run: folder of a run, or its `model.pt`.
        structures: whatever `train` takes, or any file that ASE reads.
        out: file to write, see `writers.write_predictions`.
        settings: settings in place of the run's.
        overwrite: replace the file if it exists.
        progress: called with the structures done and in all.

    Returns:
        What was left out, and why; and the number of structures.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the structures have unknown elements, or the output exists.
    """
    trained = load_run(run)
    check_output(out, trained.targets, overwrite=overwrite)
    # Labels are welcome but not needed.
    wanted = merge({"read": {"missing_labels": "mask", "duplicates": "keep"}}, settings or {})
    opened = _open(trained, structures, wanted, needed=False)
    predictions = _predict(trained, opened, progress)
    write_predictions(out, opened.structures, predictions, overwrite=overwrite)
    return opened.notes, len(opened)


def _open(trained: TrainedRun, source: str, settings: Mapping[str, Any] | None, needed: bool = True) -> StructureSet:
    """Open structures with the labels that the model predicts; those that are not there are an error if `needed`."""
    wanted = merge({"read": trained.config.read, "data_root": trained.config.data_root}, settings or {})
    if unknown := sorted(set(wanted) - {"read", "data_root"}):
        raise ValueError(f"expected settings that tell how to read {source}, got {', '.join(unknown)}")
    if "targets" in (settings or {}).get("read", {}):
        raise ValueError(f"targets: the model predicts {', '.join(t.name for t in trained.targets)}, expected none")
    config, names = dataclasses.replace(trained.config, **wanted), tuple(t.name for t in trained.targets)
    while True:
        try:
            opened = open_source(source, config, names)
            check_units(source, opened.targets, trained.targets)
            return opened
        except LabelMissing as missing:
            if needed:
                raise
            names = tuple(n for n in names if n != missing.name)
            config = config.replace(read=_without(config.read, missing.name))


def _without(read: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the settings of the readers without what they say of a label."""
    return {
        k: {n: v for n, v in value.items() if n != label} if isinstance(value, Mapping) else value
        for k, value in read.items()
    }


def _predict(trained: TrainedRun, opened: StructureSet, progress: Progress | None) -> Predictions:
    config = trained.config
    return predict(
        trained.model,
        Checked(opened.structures, ElementCheck(opened.name, trained.elements)),
        trained.targets,
        batch_size=4 * config.batch_size,
        max_edges=config.max_edges,
        device=default_device(),
        workers=config.workers,
        progress=progress,
    )
