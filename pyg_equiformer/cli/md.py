"""`pyg-equiformer md`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import command, console, fail, progress_bar
from .relax import _MODEL, Device, Threads, calculator_of


@command
def md(
    structure: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Structure to start from: any file that ASE reads.", show_default=False),
    ] = None,
    model: Annotated[
        list[Path] | None, typer.Option("--model", "-m", metavar="RUN", help=_MODEL + " \\[resumed: as before]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT", help="New folder. \\[default: FILE-md]", show_default=False),
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option(help="nve; nvt (Langevin); npt (Martyna-Tobias-Klein, isotropic). \\[default: nvt]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="In K. \\[default: 300; nve: the velocities in FILE if it has some]")
    ] = None,
    pressure: Annotated[float | None, typer.Option(help="In GPa, with npt. \\[default: 0]")] = None,
    timestep: Annotated[float | None, typer.Option(help="In fs; 0.5 suits hydrogen. \\[default: 0.5]")] = None,
    duration: Annotated[float | None, typer.Option("--time", help="Of the whole run in ps. \\[default: 1]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the whole run, in place of --time.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of velocities and heat bath. \\[default: 0]")] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Steps between frames. \\[default: 20]")] = None,
    max_temperature: Annotated[
        float | None, typer.Option(help="In K: the run stops above it. \\[default: 10 times that of the start]")
    ] = None,
    max_spread: Annotated[
        float | None,
        typer.Option(help="In eV/Å: the run stops where forces of a committee are farther apart. \\[default: 1]"),
    ] = None,
    index: Annotated[int | None, typer.Option(help="Of the structure, if FILE holds several.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Precision: float64 or float32. \\[default: the model's]")] = None,
    device: Device = "cpu",
    threads: Threads = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
) -> None:
    """Run molecular dynamics with a trained model.

    OUT holds trajectory.xyz (positions, momenta, energies, forces), log.csv, the figure md.png and restart.json. After
    a crash or kill, `pyg-equiformer md --resume -o OUT` goes on from there to the last bit; with --time or --steps it
    makes a run longer.
    """
    from ..simulation import MDSettings, SimulationStopped, resume_md, run_md
    from ..simulation.structure_files import read_one

    fixed = {"ensemble": ensemble, "temperature": temperature, "pressure": pressure, "timestep": timestep, "seed": seed}
    fixed["every"] = every
    limits: dict[str, Any] = {"max_temperature": max_temperature, "max_spread": max_spread}
    if resume:
        _check_resume(out, structure, index, fixed)
        assert out is not None
        models, dtype, total, step = _of_run(out, model, dtype, steps, duration)
    elif structure is None or not model:
        raise ValueError("expected FILE and --model RUN, or --resume with -o OUT")
    else:
        out = out if out is not None else Path(f"{structure.name.split('.')[0]}-md")
        given = _settings(fixed | limits, steps, duration)
        atoms, models = read_one(structure, index), list(model)
        if temperature is None and not (given["ensemble"] == "nve" and atoms.get_momenta().any()):
            given["temperature"] = 300.0
        settings, step = MDSettings(**given), given["timestep"]
    calculator = calculator_of(models, dtype, device, threads)
    with progress_bar("steps") as bar:
        report = _Report(bar, step)
        try:
            if resume:
                result = resume_md(out, calculator, steps=total, **limits, progress=report)
            else:
                name = {"files": [str(Path(m).resolve()) for m in models], "dtype": dtype}
                result = run_md(atoms, calculator, out, settings, model=name, progress=report)
        except SimulationStopped as stopped:
            raise fail(str(stopped)) from None
        except KeyboardInterrupt:
            raise fail(f"stopped by Ctrl-C; pyg-equiformer md --resume -o {out} goes on", 130) from None
    speed = "" if result.ns_per_day != result.ns_per_day else f", {result.ns_per_day:.3g} ns/day"
    console().print(f"{result.steps} steps{speed} → {out}/", highlight=False, soft_wrap=True)


def _settings(given: dict[str, Any], steps: int | None, duration: float | None) -> dict[str, Any]:
    """Settings of a new run: what was given, and the defaults of the command."""
    settings: dict[str, Any] = {"ensemble": "nvt", "timestep": 0.5} | {k: v for k, v in given.items() if v is not None}
    total = _steps(steps, duration, settings["timestep"])
    return settings | {"steps": total if total is not None else _steps(None, 1.0, settings["timestep"])}


def _steps(steps: int | None, duration: float | None, timestep: float) -> int | None:
    if steps is not None and duration is not None:
        raise ValueError("--steps and --time both tell the length of the run, expected one of them")
    if duration is None:
        return steps
    if not duration > 0 or not timestep > 0:
        raise ValueError(f"--time and --timestep: expected positive numbers, got {duration!r} ps and {timestep!r} fs")
    count = round(1000 * duration / timestep)
    if abs(count * timestep - 1000 * duration) > 1e-6 * timestep or count < 1:
        raise ValueError(f"--time: expected a whole number of time steps of {timestep:g} fs, got {duration:g} ps")
    return count


def _check_resume(out: Path | None, structure: Path | None, index: int | None, fixed: dict[str, Any]) -> None:
    if out is None:
        raise ValueError("--resume: expected the folder of the run, -o OUT")
    if given := [f"--{name}" for name, value in (fixed | {"index": index}).items() if value is not None]:
        raise ValueError(f"--resume: {', '.join(given)} are those of the run, expected none of them")
    if structure is not None:
        raise ValueError(f"--resume: the structure is that of the run in {out}, got {structure} too")


def _of_run(
    out: Path, model: list[Path] | None, dtype: str | None, steps: int | None, duration: float | None
) -> tuple[list[Any], str | None, int | None, float]:
    """Models, precision, steps and time step of a run that goes on, where they are not given anew."""
    from ..simulation.recording import read_restart

    state = read_restart(out)
    before = state["model"] or {"files": [], "dtype": None}
    models = list(model or before["files"])
    if not models:
        raise ValueError(f"{out} was not made by this command and does not tell its model, expected --model RUN")
    timestep = state["settings"].timestep
    return models, dtype or before["dtype"], _steps(steps, duration, timestep), timestep


class _Report:
    """Shows the steps, and what is simulated in a day at this pace."""

    def __init__(self, bar: Any, timestep: float) -> None:
        self.bar, self.task, self.timestep = bar, bar.add_task("dynamics", total=None), timestep
        self.began: tuple[float, int] | None = None

    def __call__(self, step: int, total: int) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began = (now, step)
        seconds, steps = now - self.began[0], step - self.began[1]
        pace = f"{86400 * steps * self.timestep * 1e-6 / seconds:.3g} ns/day" if seconds > 0 else "dynamics"
        self.bar.update(self.task, completed=step, total=total, description=pace)
