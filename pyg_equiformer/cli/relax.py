"""`pyg-equiformer relax`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import command, console, fail, progress_bar

if TYPE_CHECKING:
    from ..simulation import EquiformerCalculator, Relaxed

_MODEL = "Folder of a run, its model.pt, or a shared model; several times for a committee."
Device = Annotated[str, typer.Option(help="As in PyTorch: cpu, cuda, cuda:1, …")]
Threads = Annotated[int, typer.Option(min=1, help="Of the processor.")]


@command
def relax(
    structures: Annotated[
        Path, typer.Argument(metavar="FILE", help="Structures: any file that ASE reads; all of them are relaxed.")
    ],
    model: Annotated[list[Path], typer.Option("--model", "-m", metavar="RUN", help=_MODEL)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="New file, extended XYZ. \\[default: FILE-relaxed.xyz]",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="lbfgs, bfgs or fire.")] = "lbfgs",
    fmax: Annotated[float, typer.Option(help="Largest force that may be left in eV/Å.")] = 0.01,
    steps: Annotated[int, typer.Option(min=1, help="Steps at most, for each structure.")] = 500,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    pressure: Annotated[float, typer.Option(help="Pressure on the cell in GPa, with --cell.")] = 0.0,
    dtype: Annotated[str, typer.Option(help="Precision: float64 or float32.")] = "float64",
    device: Device = "cpu",
    threads: Threads = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Relax structures, and their cells, with a trained model.

    OUT holds the relaxed structures with energies and forces, and whether each of them converged. Exits with 1 if one
    did not.
    """
    path = out if out is not None else structures.with_name(f"{structures.name.split('.')[0]}-relaxed.xyz")
    if path.suffix not in (".xyz", ".extxyz"):
        raise ValueError(f"--out: expected a name that ends in .xyz or .extxyz, got {path}")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already, expected the name of a new file (-o OUT), or --overwrite")
    from ..simulation import relax as relax_one
    from ..simulation.structure_files import read_frames, write_frames

    frames = read_frames(structures)
    calculator = calculator_of(model, dtype, device, threads)
    settings: dict[str, Any] = {
        "optimizer": optimizer,
        "fmax": fmax,
        "steps": steps,
        "cell": cell,
        "pressure": pressure,
    }
    done: list[Relaxed] = []
    with progress_bar("structures") as bar:
        task = bar.add_task("relaxing", total=len(frames))
        for number, atoms in enumerate(frames):
            try:
                done.append(relax_one(atoms, calculator, **settings, progress=_report(bar, task, number)))
            except ValueError as error:
                raise ValueError(f"{structures}, structure {number}: {error}") from error
            bar.update(task, completed=number + 1)
    write_frames(path, [_told(one) for one in done])
    for number, one in enumerate(done):
        console().print(
            f"{number}: {one.atoms.get_potential_energy():.6f} eV, largest force {one.fmax:.2g} eV/Å after {one.steps} "
            f"steps{'' if one.converged else ', not converged'}",
            highlight=False,
            soft_wrap=True,
        )
    console().print(f"{len(done)} structures → {path}", highlight=False, soft_wrap=True)
    if left := sum(not one.converged for one in done):
        raise fail(f"{left} of {len(done)} structures did not converge within {steps} steps (--steps, --optimizer)")


def calculator_of(models: list[Path], dtype: str | None, device: str, threads: int) -> "EquiformerCalculator":
    """Return the calculator that the options of a command ask for."""
    import torch

    from ..simulation import EquiformerCalculator

    torch.set_num_threads(threads)
    return EquiformerCalculator(list(models), dtype=dtype, device=device)


def _report(bar: Any, task: Any, number: int) -> Any:
    return lambda step, force: bar.update(task, description=f"structure {number}, step {step}, {force:.3f} eV/Å")


def _told(one: "Relaxed") -> Any:
    one.atoms.info |= {"converged": one.converged, "steps": one.steps, "fmax": one.fmax}
    return one.atoms
