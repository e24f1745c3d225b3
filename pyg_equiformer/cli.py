"""The command `pyg-equiformer`. What is heavy is imported inside the commands, so that `--help` is fast."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

try:
    import typer
    from rich.console import Console
except ImportError:
    print('the command line needs typer and rich: pip install "pyg_equiformer[train]"', file=sys.stderr)
    raise SystemExit(1) from None

if TYPE_CHECKING:
    from rich.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])

app = typer.Typer(
    help="Equivariant graph attention (Equiformer) for molecules: train models, make data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _console(stderr: bool = False) -> Console:
    return Console(stderr=stderr)


def _fail(text: str, code: int = 1) -> typer.Exit:
    """Print one red line on stderr; the caller raises what is returned."""
    line = " ".join(text.split())
    _console(stderr=True).print(f"error: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line and a non-zero exit code."""
    try:
        yield
    except FileNotFoundError as error:
        raise _fail(f"there is no file {error.filename}" if error.filename else str(error), 2) from None
    except ValueError as error:
        raise _fail(str(error), 2) from None
    except (ImportError, OSError) as error:
        raise _fail(str(error)) from None
    except KeyboardInterrupt:
        raise _fail("stopped by Ctrl-C", 130) from None


def _command(function: F) -> F:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with _clear_errors():
            return function(*args, **kwargs)

    # Typer keeps the line breaks of a docstring: join the lines of each paragraph.
    text = "\n\n".join(" ".join(part.split()) for part in (function.__doc__ or "").split("\n\n"))
    return app.command(help=text)(run)  # type: ignore[return-value]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pyg_equiformer {version('pyg_equiformer')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


def seconds(text: str) -> float:
    """Read a duration such as `90s`, `20m`, `1.5h` or a plain number of seconds.

    Args:
        text: the duration.

    Raises:
        ValueError: if it is not a positive duration.

    Example:
        >>> seconds("20m")
        1200.0
    """
    factors = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, factor = (text[:-1], factors[text[-1]]) if text[-1:] in factors else (text, 1.0)
    try:
        value = float(number) * factor
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"--max-time: expected a duration such as 90s, 20m or 1.5h, got {text!r}")
    return value


@_command
def train(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Extended XYZ file with energies in eV and forces in eV/Å (.xyz, also .xz or .gz). "
            "Without it: the ethanol sample that comes with the package.",
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="File with test structures. Without it: a fifth of DATA, drawn at random.", metavar="FILE"),
    ] = None,
    preset: Annotated[str, typer.Option(help="Preset of the network.")] = "small",
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
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, split and order of the data.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; small molecules gain little from more.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run; it must be new or empty.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the folder in runs/; a number is added if it exists. \\[default: from the data]"),
    ] = None,
) -> None:
    """Train a model on energies and forces, test it, and draw the results.

    Without arguments: about three minutes on two cores. The folder of the run holds the checkpoint
    model.pt, metrics.json, parity.png, learning_curve.png, config.yaml and metrics.csv. Ctrl-C ends the
    training and keeps the model so far.
    """
    limit = None if max_time is None else seconds(max_time)
    if out is not None and name is not None:
        raise ValueError("--out and --name both name the folder of the run, expected one of them")
    if test is not None and data is None:
        raise ValueError("--test was given without DATA, expected both or neither")
    from .training import Interrupted, TrainConfig, train_file, train_sample

    ends: dict[str, Any] = {} if epochs is None and limit is None else {"epochs": epochs, "max_time": limit}
    config = TrainConfig(preset=preset, seed=seed, threads=threads, **ends)
    try:
        if data is None:
            train_sample(config, out=out, name=name, console=_console())
        else:
            train_file(data, config, test=test, out=out, name=name, console=_console())
    except Interrupted as stop:
        _console(stderr=True).print(str(stop), style="yellow", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None


@_command
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
    from .data.sampling import partial_path, sample_trajectory, write_trajectory

    path = out or Path(f"{_file_stem(molecule)}.xyz")
    if path.exists():
        raise ValueError(f"{path} exists already, expected the name of a new file (-o FILE)")
    unfinished, bar = partial_path(path), _bar()
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
        raise _fail(f"{'stopped by Ctrl-C' if stopped else error}{kept}", 130 if stopped else 1) from None
    _console().print(f"{count} structures, {path.stat().st_size / 1000:.0f} kB → {path}", highlight=False)


def _holds_anything(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _file_stem(molecule: str) -> str:
    """A file name from a molecule's name or SMILES string, or from the name of its file."""
    stem = Path(molecule).name.split(".")[0] if Path(molecule).is_file() else molecule
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stem).strip("_") or "molecule"


def _bar() -> "Progress":
    """A progress bar over the steps of the dynamics with the time left; it shows on terminals only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = _console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, left"))
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
