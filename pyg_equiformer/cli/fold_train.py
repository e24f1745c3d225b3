"""`pyg-equiformer fold train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, console, seconds
from .fold import fold
from .train import told_when_interrupted


def train(
    structures: Annotated[
        list[Path] | None,
        typer.Option(
            "--structures",
            "-s",
            metavar="DIR|FILE",
            help="Structures to train on: PDB and mmCIF files, also with .gz, arrays of chains (.npz), or folders of "
            "them; may be given several times. All chains of a file are folded together.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="Any setting, such as batch_size=2, learning_rate=1e-3, crop=200, model.blocks=4, "
            "model.start=black_hole.",
            show_default=False,
        ),
    ] = None,
    valid: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Structures to watch the training with; may be given several times. \\[default: a fifth of the "
            "chains, none related to the others]",
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Sizes of the model: small, or equifold or antibody as published.")
    ] = "small",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the structures. \\[default: no limit]")] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Longest time of the training: 90s, 20m, 1.5h. The learning rate falls to its end within it. "
            "\\[default: 20m, or no limit with --epochs]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, starts, split and order.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; it must be new or empty.")
    ] = None,
) -> None:
    """Train EquiFold to fold proteins from their sequence.

    Templates of the rigid groups are those of the training structures. The folder of the run holds the model model.pt,
    metrics.json, learning_curve.png, config.yaml with all settings, metrics.csv and, saved every minute, the state
    last.ckpt. Ctrl-C ends the training and saves its state; `pyg-equiformer resume RUN` goes on from there.
    """
    import dataclasses

    from ..folding.run import train_fold
    from ..folding.train_config import FoldTrainConfig
    from ..training.recipes import parse_settings

    if not structures:
        raise ValueError("--structures: expected files or folders to train on, got none")
    limit = seconds(max_time) if max_time is not None else None if epochs is not None else 1200.0
    given: dict[str, Any] = {"structures": [*map(str, structures)], "valid": [*map(str, valid or [])], "seed": seed}
    given |= {"preset": preset, "epochs": epochs, "max_time": limit, "threads": threads}
    names = [f.name for f in dataclasses.fields(FoldTrainConfig)]
    typed = parse_settings(settings or [], names, ["model"])
    twice = [name for name in typed if name in given]
    if twice:
        raise ValueError(f"{twice[0]}: expected it as an option, --{twice[0].replace('_', '-')}")
    config = FoldTrainConfig.from_dict({**given, **typed})
    with told_when_interrupted():
        train_fold(config, out, console=console())


command(train, fold)
