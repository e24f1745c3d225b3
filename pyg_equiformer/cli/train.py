"""`pyg-equiformer train` and `resume`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import clear_errors, command, console, seconds

if TYPE_CHECKING:
    from ..training import TrainConfig


def _show_settings(wanted: bool) -> None:
    if wanted:
        with clear_errors():
            from ..training.settings_help import settings_help

            console().print(settings_help())
        raise typer.Exit


@command
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="What to train on: extended XYZ (.xyz, also .xz or .gz), an ASE database (.db, .aselmdb or a folder "
            "of these), .npz as of sGDML or rMD17, a folder of PDB or other structure files with labels.csv, any "
            "other file that ASE reads; or a built-in data set: qm9:gap, md17:aspirin, rmd17:aspirin, ccsd:ethanol, … "
            "Without it: the ethanol sample that comes with the package.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="Any setting, such as batch_size=10, weight.forces=50, model.num_layers=3, targets=dipole, "
            "names.energy=REF_energy, units.energy=kcal/mol; --settings explains them all.",
            show_default=False,
        ),
    ] = None,
    valid: Annotated[
        str | None,
        typer.Option(help="Structures to watch the training with. \\[default: part of DATA]", metavar="FILE"),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            help="Structures to test with; may be given several times. \\[default: part of DATA]", metavar="FILE"
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Recipe: small, qm9, md17, md17_l3, rmd17 or 3bpa. "
            "\\[default: that of a built-in data set, else small]",
            metavar="NAME",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with settings: a copy of a recipe, or the config.yaml of a run.", metavar="FILE"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the data. \\[default: the recipe's, or no limit with --max-time]"),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Longest time of the training loop: 90s, 20m, 1.5h. The learning rate falls to its end within it.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, split and order of the data. \\[default: 0]")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads. \\[default: the recipe's; small: 1, which small molecules like]"),
    ] = None,
    ensemble: Annotated[
        int,
        typer.Option(min=1, help="Train this many models with different seeds; predictions then tell their spread."),
    ] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run; it must be new or empty.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the folder in runs/; a number is added if it exists. \\[default: from the data]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read the data, print what would be done, and end.")
    ] = False,
    show_settings: Annotated[
        bool,
        typer.Option("--settings", callback=_show_settings, is_eager=True, help="Explain every NAME=VALUE and end."),
    ] = False,
) -> None:
    """Train a model on structures and their labels, test it, and draw the results.

    Without arguments: a few minutes on a CPU. The folder of the run holds the model model.pt, report.md,
    metrics.json, parity.png, learning_curve.png, config.yaml, metrics.csv and, saved every minute, the state last.ckpt.
    Ctrl-C ends the training and saves its state; `pyg-equiformer resume RUN` goes on from there, or after a crash
    from the last minute. Several devices: devices=4 nodes=2, with torchrun or SLURM as Lightning documents them.
    """
    if out is not None and name is not None:
        raise ValueError("--out and --name both name the folder of the run, expected one of them")
    if name == "":
        raise ValueError("--name: expected the name of a folder, got nothing")
    texts = list(settings or [])
    if data is not None and "=" in data and not Path(data).exists():
        texts, data = [data, *texts], None
    given: dict[str, Any] = {"valid": valid, "test": test or None, "epochs": epochs, "seed": seed, "threads": threads}
    given["max_time"] = None if max_time is None else seconds(max_time)
    resolved = _resolve(data, preset, config, texts, given)
    if resolved.data is None and (resolved.test or resolved.valid):
        raise ValueError("--test or --valid was given without DATA, expected both or neither")
    from .. import training

    if dry_run:
        training.dry_run(resolved, ensemble=ensemble, out=out, name=name, console=console())
        return
    with told_when_interrupted():
        if ensemble > 1:
            training.train_committee(resolved, ensemble, out=out, name=name, console=console())
        else:
            training.train(None, resolved, out=out, name=name, console=console())


#: Words that are options only, no settings of a run.
_OPTIONS = ("preset", "config", "out", "name", "ensemble", "dry_run", "dry-run")


def _resolve(
    data: str | None, preset: str | None, config: Path | None, texts: list[str], given: dict[str, Any]
) -> "TrainConfig":
    from ..training.recipes import merge, parse_assignments, resolve

    for text in texts:
        if (option := text.split("=")[0]) in _OPTIONS:
            raise ValueError(
                f"{text}: expected it as an option, --{option.replace('_', '-')} {text[len(option) + 1 :]}"
            )
    typed = parse_assignments(texts)
    if data is not None and "data" in typed:
        raise ValueError(f"data was given twice, as {data} and as data={typed['data']}, expected one of them")
    _check_fractions(data or typed.get("data"), {**given, **typed})
    if isinstance(typed.get("max_time"), str):
        typed["max_time"] = seconds(typed["max_time"])
    for key, value in given.items():
        if value is not None and key in typed:
            raise ValueError(f"{key} was given twice, as --{key.replace('_', '-')} and as {key}=, expected one of them")
    typed = merge(typed, {k: v for k, v in given.items() if v is not None})
    return resolve(data, preset=preset, config=config, settings=typed)


def _check_fractions(data: str | None, given: dict[str, Any]) -> None:
    """Raise a `ValueError` if a part of the data is to be set apart for a set that is given otherwise."""
    from ..data import is_builtin

    for what in ("valid", "test"):
        fraction = f"{what}_fraction"
        source = given.get(what) or (data if data is not None and is_builtin(str(data)) else None)
        if source and given.get(fraction) is not None:
            named = source if isinstance(source, str) else ", ".join(map(str, source))
            raise ValueError(f"{fraction}: the {what} set is that of {named}, expected one of the two")


@command
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that was interrupted.")],
) -> None:
    """Go on with a run that was interrupted, from its last saved state to its end.

    A run that ends by epochs reaches, on a CPU, bit for bit the weights of a run that was never interrupted.
    """
    from .. import training
    from ..training.config import read_yaml
    from ..training.folder import CONFIG

    with told_when_interrupted():
        if (run / CONFIG).is_file() and read_yaml(run / CONFIG).get("kind") == "fold":
            from ..folding.run import resume_fold

            resume_fold(run, console=console())
        else:
            training.resume(run, console=console())


class told_when_interrupted:
    """Say in yellow where the work of an interrupted run is, and exit as shells expect after a Ctrl-C."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from ..training import Interrupted

        if isinstance(error, Interrupted):
            from ..training.engine import is_first_process

            told = console(stderr=True, quiet=not is_first_process())
            told.print(str(error), style="yellow", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(130) from None
