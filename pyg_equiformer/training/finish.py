"""The end of a run: errors of every set, figures, and the report."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch_geometric.data import Data

from ..data.structure_sets import Structures
from . import figures, report
from .build import config_of
from .config import TrainConfig
from .data_module import Mapped, StructureDataModule
from .evaluation import default_device
from .folder import CONFIG
from .hardware import hardware
from .loggers import LOG
from .predictions import Predictions, predict
from .published import published
from .report_markdown import RunReport, write_report

if TYPE_CHECKING:
    from rich.console import Console

METRICS = "metrics.json"  #: errors of a run, in its folder; written last but for the report
TRAIN_SHARE = 1000  #: training structures whose errors are told, at most


@dataclass(frozen=True)
class Tested:
    """A trained model and all that its report tells.

    Args:
        model: a model or a committee.
        data: the sets.
        structures: as they were handed over.
        config: settings.
        folder: of the run.
        facts: of the training, such as "steps".
        seconds: that the run took.
        handed_over: whether the structures were handed over in Python, and no command reads them.
    """

    model: nn.Module
    data: StructureDataModule
    structures: Structures
    config: TrainConfig
    folder: Path
    facts: dict[str, Any]
    seconds: float
    handed_over: bool = False


def judge(
    tested: Tested,
    console: "Console",
    check: Callable[..., None] | None = None,
    members: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on all sets; write errors, figures and report to its folder, and show the table.

    Args:
        tested: the model and its run.
        console: where to show the table.
        check: called between batches; it may raise to end the evaluation.
        members: contents of the members' `metrics.json`, for a committee.

    Returns:
        The contents of `metrics.json`.
    """
    config, folder, title = tested.config, tested.folder, tested.structures.name
    metrics: dict[str, Any] = {}
    first: Predictions | None = None
    for name, part in _sets(tested.data).items():
        predictions = predict(
            tested.model,
            part,
            tested.structures.targets,
            batch_size=4 * config.batch_size,
            max_edges=config.max_edges,
            device=default_device(),
            workers=config.workers,
            progress=check,
        )
        metrics[name] = report.errors(predictions)
        if first is None:
            first = predictions
            figures.plot_parity(folder / "parity.png", predictions, f"{title}: {len(part)} {name} structures")
    curve = (folder / LOG).is_file()
    if curve:
        history = figures.read_history(folder / LOG)
        figures.plot_learning_curve(
            folder / "learning_curve.png", history, f"{title}: training", tested.structures.targets
        )
    metrics["run"] = _facts(tested)
    report.write_metrics(folder / METRICS, metrics)
    _write_report(tested, metrics, curve, members)
    shown = {name: metrics[name] for name in tested.data.tests}
    console.print(report.error_table(shown, title=f"{title}: errors on structures that were not trained on"))
    console.print(
        f"{tested.seconds:.0f} s; model, errors, figures and report are in {folder}/", highlight=False, soft_wrap=True
    )
    return metrics


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return the contents of a run's `metrics.json`."""
    return json.loads((folder / METRICS).read_text(encoding="utf-8"))


def _sets(data: StructureDataModule) -> dict[str, Sequence[Data]]:
    """Test sets first; of the training set a part, as its errors are only told for comparison."""
    train = data.train
    if len(train) > TRAIN_SHARE:
        step = len(train) // TRAIN_SHARE
        train = Mapped(train, indices=range(0, step * TRAIN_SHARE, step))
    return {**data.tests, "valid": data.valid, "train": train}


def _facts(tested: Tested) -> dict[str, Any]:
    parameters = sum(p.numel() for p in tested.model.parameters())
    return {
        "wall_time": {"value": round(tested.seconds, 1), "unit": "s"},
        **tested.facts,
        "handed_over": tested.handed_over,
        "training_structures": len(tested.data.train),
        "parameters": parameters,
        "device": str(default_device()),
        "threads": torch.get_num_threads(),
        "hardware": hardware(),
        "notes": list(tested.structures.notes),
    }


def _write_report(
    tested: Tested, metrics: dict[str, Any], curve: bool, members: Mapping[str, Mapping[str, Any]] | None
) -> None:
    config, folder, data = tested.config, tested.folder, tested.data
    first = next(iter(data.tests))
    drawn = {"Predicted against true values": folder / "parity.png"}
    if curve:
        drawn["Errors over the training"] = folder / "learning_curve.png"
    settings = config.to_dict()
    report_facts = RunReport(
        title=f"{tested.structures.name}: {', '.join(t.name for t in tested.structures.targets)}",
        sizes={"train": len(data.train), "valid": len(data.valid), **{n: len(p) for n, p in data.tests.items()}},
        metrics={name: values for name, values in metrics.items() if name != "run"},
        command=_command(tested, 1 if members is None else len(members)),
        notes=tested.structures.notes,
        figures=drawn,
        compared=first,
        published=published(config.compare or config.data or ""),
        members={name: values[first] for name, values in (members or {}).items()},
        network=_network(tested.model),
        settings={k: v for k, v in settings.items() if v not in (None, {}, [])},
        run={k: v for k, v in metrics["run"].items() if k != "notes"},
    )
    write_report(folder / "report.md", report_facts)


def _network(model: nn.Module) -> dict[str, Any]:
    settings = config_of(model).to_dict()
    elements = settings["elements"]
    if len(elements) > 2 and elements == list(range(elements[0], elements[-1] + 1)):
        settings["elements"] = f"{elements[0]} to {elements[-1]}"
    return settings


def _command(tested: Tested, members: int) -> str:
    if tested.handed_over:
        return "# the structures were handed over in Python: train(structures, TrainConfig.load('config.yaml'))"
    text = f"pyg-equiformer train --config {tested.folder / CONFIG}"
    return text + (f" --ensemble {members}" if members > 1 else "")
