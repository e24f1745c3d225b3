"""`pyg-equiformer sample`: training data by molecular dynamics."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, console, fail, progress_bar


@command
def sample(
    molecule: Annotated[
        str, typer.Argument(help="Name (ethanol, aspirin, CH3CH2OH), SMILES string or structure file.")
    ],
    frames: Annotated[int, typer.Option(min=1, help="Structures to write.")] = 1200,
    temperature: Annotated[float, typer.Option(help="Temperature in K.")] = 500.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of velocities, heat bath and conformer.")] = 0,
    interval: Annotated[float, typer.Option(help="Time between structures in fs.")] = 20.0,
    timestep: Annotated[float, typer.Option(help="Time step of the dynamics in fs.")] = 0.5,
    equilibration: Annotated[float, typer.Option(help="Time before the first structure in fs.")] = 2000.0,
    charge: Annotated[
        int | None, typer.Option(help="Total charge in e. \\[default: the structure's]", show_default=False)
    ] = None,
    multiplicity: Annotated[
        int | None, typer.Option(help="2S + 1. \\[default: the structure's, or the lowest]", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Extended XYZ file to write: .xyz, .xyz.xz or .xyz.gz. \\[default: <molecule>.xyz]",
        ),
    ] = None,
) -> None:
    """Make training data by molecular dynamics with the quantum method GFN2-xTB.

    About 2 ms per time step for a molecule like ethanol. Energies in eV, forces in eV/Å. An existing
    file is not overwritten.
    """
    from ..data.sampling import partial_path, sample_trajectory, write_trajectory

    path = out or Path(f"{_file_stem(molecule)}.xyz")
    if path.exists():
        raise ValueError(f"{path} exists already, expected the name of a new file (-o FILE)")
    unfinished, bar = partial_path(path), progress_bar("steps")
    task = bar.add_task(f"{molecule} at {temperature:g} K", total=None)
    trajectory = sample_trajectory(
        molecule,
        frames,
        temperature,
        seed=seed,
        interval=interval,
        timestep=timestep,
        equilibration=equilibration,
        charge=charge,
        multiplicity=multiplicity,
        progress=lambda done, total: bar.update(task, completed=done, total=total),
    )
    try:
        with bar:
            count = write_trajectory(path, trajectory)
    except (KeyboardInterrupt, RuntimeError) as error:
        # RuntimeError: the quantum calculation failed on the way.
        kept = f"; the structures so far are in {unfinished}" if _holds_anything(unfinished) else ""
        stopped = isinstance(error, KeyboardInterrupt)
        raise fail(f"{'stopped by Ctrl-C' if stopped else error}{kept}", 130 if stopped else 1) from None
    console().print(
        f"{count} structures, {path.stat().st_size / 1000:.0f} kB → {path}", highlight=False, soft_wrap=True
    )


def _holds_anything(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _file_stem(molecule: str) -> str:
    """A file name from a molecule's name or SMILES string, or from the name of its file."""
    stem = Path(molecule).name.split(".")[0] if Path(molecule).is_file() else molecule
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stem).strip("_") or "molecule"
