"""`pyg-equiformer export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, console


@command
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, its model.pt, or a shared model.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="New file: .pt2, compiled; .pkl, for LAMMPS's ML-IAP.")
    ],
    dtype: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help="Of positions and forces: float32 or float64. \\[default: as in the run]"),
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where OUT is to run: cpu or cuda.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Make one file of a trained potential for other programs.

    OUT.pt2 is compiled, which takes some minutes and a C++ compiler: energy, forces and stress for Python and C++
    without this package; examples/cpp shows how C++ calls it. OUT.pkl is for pair_style mliap unified of LAMMPS with
    KOKKOS, which finds this package where it runs and has its own devices.
    """
    from ..export import export_mliap, export_run

    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists already, expected a new file (or --overwrite)")
    choices: Any = {"dtype": dtype}
    if out.suffix == ".pkl":
        if device != "cpu":
            raise ValueError(f"--device is for files that end in .pt2: LAMMPS itself chooses where {out} runs")
        symbols = export_mliap(run, out, **choices)
        console().print(f"pair_style mliap unified {out} 0", highlight=False, soft_wrap=True)
        console().print(f"pair_coeff * * {' '.join(symbols)}  # one of these for each atom type", highlight=False)
        return
    if out.suffix != ".pt2":
        raise ValueError(f"expected a file that ends in .pt2 or .pkl, got {str(out)!r}")
    choices["device"] = device
    with console(stderr=True).status("compiling"):
        facts = export_run(run, out, **choices)
    told = f"elements Z = {facts['elements']}, cutoff {facts['cutoff']} Å, {facts['dtype']}, {facts['device']}"
    console().print(f"{told} → {out}", highlight=False, soft_wrap=True)
