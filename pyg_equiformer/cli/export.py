"""`pyg-equiformer export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, console


@command
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its model.pt; a committee's too.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="New file, which ends in .pt2.")],
    dtype: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help="Of positions and forces: float32 or float64. \\[default: as in the run]"),
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where OUT is to run: cpu or cuda.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Compile a trained potential to one file for Python and C++ without this package: energy, forces and stress.

    It takes some minutes and a C++ compiler. examples/cpp shows how C++ calls it.
    """
    from ..export import export_run

    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists already, expected a new file (or --overwrite)")
    choices: Any = {"dtype": dtype, "device": device}
    with console(stderr=True).status("compiling"):
        facts = export_run(run, out, **choices)
    told = f"elements Z = {facts['elements']}, cutoff {facts['cutoff']} Å, {facts['dtype']}, {facts['device']}"
    console().print(f"{told} → {out}", highlight=False, soft_wrap=True)
