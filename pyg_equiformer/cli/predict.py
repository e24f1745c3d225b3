"""`pyg-equiformer eval` and `predict`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, console, progress_bar

_RUN = "Folder of a run, its model.pt, or a shared model."


@command
def eval(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled structures: whatever train takes.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="How to read DATA, such as names.energy=REF_energy, units.energy=kcal/mol, bad_frames=skip. "
            "\\[default: as in the run]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New folder for the results. \\[default: RUN/eval-DATA]")
    ] = None,
) -> None:
    """Compare the predictions of a trained model with labels: a table of errors, metrics.json and parity.png."""
    from ..training import evaluate
    from ..training.recipes import parse_assignments

    with progress_bar("structures") as bar:
        task = bar.add_task("predicting", total=None)
        result = evaluate(
            run,
            data,
            settings=parse_assignments(settings or []),
            out=out,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for note in result.notes:
        console().print(note, highlight=False, soft_wrap=True)
    console().print(result.table)
    console().print(f"errors and figure are in {result.folder}/", highlight=False, soft_wrap=True)


@command
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    structures: Annotated[
        str,
        typer.Argument(
            metavar="STRUCTURES", help="Structures, labelled or not: whatever train takes, or any file that ASE reads."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="New file: .xyz (also .xz, .gz), .db, .npz, or .csv for values per structure.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...", help="How to read STRUCTURES. \\[default: as in the run]", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Predict for structures what the model was trained on, as energies and forces; committees add their spread."""
    from ..training import predict_file
    from ..training.recipes import parse_assignments

    with progress_bar("structures") as bar:
        task = bar.add_task("predicting", total=None)
        notes, count = predict_file(
            run,
            structures,
            out,
            settings=parse_assignments(settings or []),
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for note in notes:
        console().print(note, highlight=False, soft_wrap=True)
    console().print(f"{count} structures → {out}", highlight=False, soft_wrap=True)
