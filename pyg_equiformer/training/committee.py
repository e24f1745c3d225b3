"""Committees: several models with different seeds, whose spread tells how far a prediction can be trusted."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.structure_sets import Structures
from ..models import EnergyForces, Ensemble, PropertyModel
from .config import TrainConfig
from .engine import is_first_process, limited_threads, quiet
from .evaluation import load_run
from .finish import METRICS, Tested, judge, read_metrics
from .folder import COMMITTEE, CONFIG, MEMBER, check_new, members, new_folder
from .run import Interrupted, TrainResult, prepare, resume, train
from .saving import MODEL, STATE
from .sources import open_sources
from .trained_file import save_trained

if TYPE_CHECKING:
    from rich.console import Console


def train_committee(
    config: TrainConfig,
    size: int,
    *,
    structures: Structures | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    console: "Console | None" = None,
) -> TrainResult:
    """Train models with the seeds `config.seed`, `config.seed + 1`, … on the same sets, and test them together.

    The folder holds a run per member, and the files of a run for the committee: its `model.pt` predicts means and
    standard deviations over the members.

    Args:
        config: settings; its seed also draws the validation and test sets, which all members share.
        size: number of members.
        structures: the sets; None: what `config.data` names.
        out, name: of the folder, as in `train`.
        console: where to show progress and results; None for standard output.

    Raises:
        ValueError: if `size` is below 2, or as in `train`.
        Interrupted: at Ctrl-C; `resume` goes on with the member under way and those that are left.
    """
    if size < 2:
        raise ValueError(f"expected a committee of at least 2 models, got {size}")
    handed_over = structures is not None
    structures = structures if structures is not None else open_sources(config)
    check_new(out, name or structures.name)
    with quiet():
        prepare(structures, config)  # errors in the data or the settings come before any folder
    folder = new_folder(out, name or structures.name)
    if is_first_process():
        config.write(folder / CONFIG)
        (folder / COMMITTEE).write_text(f"{size}\n")
    return _go_on(folder, config, size, structures, console, handed_over)


def resume_committee(
    folder: Path, *, structures: Structures | None = None, console: "Console | None" = None
) -> TrainResult:
    """Go on with a committee that was interrupted: with the member under way, then with those that are left."""
    config, size = TrainConfig.load(folder / CONFIG), int((folder / COMMITTEE).read_text())
    sets = structures if structures is not None else open_sources(config)
    return _go_on(folder, config, size, sets, console, structures is not None)


def _go_on(
    folder: Path,
    config: TrainConfig,
    size: int,
    structures: Structures,
    console: "Console | None",
    handed_over: bool,
) -> TrainResult:
    from rich.console import Console

    console = console or Console()
    began, results = time.monotonic(), []
    split_seed = config.seed if config.split_seed is None else config.split_seed
    for k in range(size):
        member, own = folder / f"{MEMBER}{k}", config.replace(seed=config.seed + k, split_seed=split_seed)
        if is_first_process():
            console.print(f"[bold]member {k + 1} of {size}[/], seed {own.seed}", highlight=False)
        try:
            results.append(_member(member, own, structures, console))
        except Interrupted as stopped:
            left = str(stopped).partition("; go on with:")[0]
            raise Interrupted(f"{left}; go on with the committee: pyg-equiformer resume {folder}") from None
    if not is_first_process():
        return TrainResult(folder, results[0].model, {})
    trained = [r.model for r in results]
    committee = Ensemble([m for m in trained if isinstance(m, (EnergyForces, PropertyModel))])
    facts = {"steps": results[0].metrics["run"]["steps"], "members": size, "seed": config.seed}
    with quiet(), limited_threads(config.threads):
        data = prepare(structures, config).data
        save_trained(folder / MODEL, committee, config, structures.targets, data.statistics.elements)
        tested = Tested(committee, data, structures, config, folder, facts, time.monotonic() - began, handed_over)
        metrics = judge(tested, console, members={m.name: read_metrics(m) for m in members(folder)})
    return TrainResult(folder, committee, metrics)


def _member(member: Path, config: TrainConfig, structures: Structures, console: "Console") -> TrainResult:
    """Train a member, go on with it where it was interrupted, or take it as it is where it is done."""
    if (member / METRICS).is_file():
        return TrainResult(member, load_run(member).model, read_metrics(member))
    if (member / STATE).is_file():
        return resume(member, structures=structures, console=console)
    if member.is_dir() and is_first_process():
        shutil.rmtree(member)  # it ended before its first save: there is nothing to go on from
    return train(structures, config, out=member, console=console)
