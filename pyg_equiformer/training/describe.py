"""What a run is about to do, in a few lines: shown at its start, and by `--dry-run` in full."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..data.structure_sets import Structures
from .build import config_of
from .config import TrainConfig
from .data_module import StructureDataModule
from .losses import LossTerm
from .task import TrainingTask

if TYPE_CHECKING:
    from rich.console import Console


def describe(
    structures: Structures, data: StructureDataModule, task: TrainingTask, config: TrainConfig, folder: Path | None
) -> str:
    """Return the plan of a run as text with rich's markup.

    Args:
        structures: as they were handed over; their notes are told.
        data: the sets.
        task: the model and its loss.
        config: settings.
        folder: of the run; None where there is none.
    """
    from rich.markup import escape

    size = sum(p.numel() for p in task.model.parameters())
    tests = " + ".join(
        f"{len(part)} ({name})" if len(data.tests) > 1 else str(len(part)) for name, part in data.tests.items()
    )
    where = f" → {escape(str(folder))}/" if folder is not None else ""
    lines = [escape(note) for note in structures.notes]
    lines.append(
        f"[bold]{escape(structures.name)}[/]: {len(data.train)} structures to train, {len(data.valid)} to validate, "
        f"{tests} to test; network {config.network} with {size:,} parameters{where}"
    )
    if config.denoising != "none":
        lines.append(f"denoising: {config.denoising}, σ = {config.noise_std:g} Å, weight {config.noise_weight:g}")
    return "\n".join(lines)


def dry_run(
    config: TrainConfig,
    *,
    ensemble: int = 1,
    out: str | Path | None = None,
    name: str | None = None,
    console: "Console | None" = None,
) -> None:
    """Read the data, build the model, and print what a run with these settings would do; nothing is written.

    Args:
        config: settings.
        ensemble: number of models.
        out, name: of the folder, as in `train`.
        console: where to print; None for standard output.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the data or a setting is wrong, or the folder cannot be that of a new run.
    """
    import yaml
    from rich.console import Console
    from rich.markup import escape

    from .engine import quiet
    from .folder import check_new, free_folder
    from .run import prepare
    from .sources import open_sources

    console = console or Console()
    check_new(out, name or "run")  # before anything is read
    structures = open_sources(config)
    folder = Path(out) if out is not None else free_folder(name or structures.name)
    with quiet():
        prepared = prepare(structures, config)
    data, statistics = prepared.data, prepared.data.statistics
    console.print(describe(structures, data, prepared.task, config, folder), highlight=False, soft_wrap=True)
    batches = data.batches_per_pass()
    end = [] if config.epochs is None else [f"{config.epochs} passes of {batches} batches"]
    end += [] if config.max_time is None else [f"at most {config.max_time:g} s"]
    averages, elements = statistics.averages(), ", ".join(map(str, statistics.elements))
    lines = [
        f"ends after {' or '.join(end)}" + (f"; {ensemble} models, one after another" if ensemble > 1 else ""),
        f"elements Z = {elements}; on average {averages['avg_num_nodes']:.1f} atoms and "
        f"{averages['avg_degree']:.1f} neighbours within {config_of(prepared.plan.model).cutoff:g} Å",
        *(_told(term) for term in prepared.plan.terms),
    ]
    if prepared.plan.references:
        told = ", ".join(f"{z}: {e:.4f}" for z, e in prepared.plan.references.items())
        lines.append(f"reference energies of the elements in eV: {told}")
    settings = yaml.safe_dump({"settings": config.to_dict()}, sort_keys=False, allow_unicode=True)
    console.print(escape("\n".join([*lines, settings])), highlight=False, soft_wrap=True)


def _told(term: LossTerm) -> str:
    unit = f" {term.target.unit}" if term.target.unit else ""
    return f"{term.target.name}: {term.kind} loss, weight {term.weight:g}, in units of {term.scale:.4g}{unit}"
