"""What all commands share: the application, errors in one red line, durations, a progress bar."""

import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

try:
    import typer
    from rich.console import Console
    from typer.core import TyperGroup
except ImportError:
    print('the command line needs typer and rich: pip install "pyg_equiformer[train]"', file=sys.stderr)
    raise SystemExit(1) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

if TYPE_CHECKING:
    from rich.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])

#: What is wrong with the words on the command line: typer has no public name for it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """The commands, which tell of wrong words on the command line as of all other errors: in one line."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        if not extra.pop("standalone_mode", True):
            return super().main(args, standalone_mode=False, **extra)
        try:
            result = super().main(args, standalone_mode=False, **extra)
        except _UsageError as error:
            context: Any = getattr(error, "ctx", None)
            told = error.format_message().rstrip(".")  # type: ignore[attr-defined]
            path = context.command_path if context is not None else "pyg-equiformer"
            result = fail(f"{told}; {path} --help tells what there is", 2).exit_code
        sys.exit(result if isinstance(result, int) else 0)


app = typer.Typer(
    help="Equivariant graph attention (Equiformer) for molecules and materials: train models, judge and use them, "
    "make data.",
    cls=_Commands,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def console(stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console on standard output, or on standard error."""
    return Console(stderr=stderr, quiet=quiet)


def fail(text: str, code: int = 1) -> typer.Exit:
    """Print one red line on stderr; the caller raises what is returned."""
    line = " ".join(text.split())
    console(stderr=True).print(f"error: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line and a non-zero exit code."""
    try:
        yield
    except BrokenPipeError:
        raise  # typer ends quietly when nobody reads on, as after `| head`
    except FileNotFoundError as error:
        raise fail(f"there is no file {error.filename}" if error.filename else str(error), 2) from None
    except ValueError as error:
        raise fail(str(error), 2) from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise fail(_told(error), 2) from None
    except OSError as error:
        raise fail(_told(error)) from None
    except ImportError as error:
        raise fail(str(error)) from None
    except MemoryError as error:
        raise fail(_OUT_OF_MEMORY.format(error or "memory")) from None
    except Exception as error:
        if type(error).__module__.startswith("wandb"):
            raise fail(f"loggers=wandb: {error} (WANDB_MODE=offline goes on without an account)") from None
        # PyTorch's own way of saying so, on CPUs and GPUs; anything else is our fault and shows where it is.
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise fail(_OUT_OF_MEMORY.format(str(error).split(". ")[0])) from None
    except KeyboardInterrupt:
        raise fail("stopped by Ctrl-C", 130) from None


_OUT_OF_MEMORY = "out of memory ({}): give a smaller batch_size, max_edges, or in_memory=false"


def _told(error: OSError) -> str:
    """What the system says, without its numbers, and what to do about it where that is clear."""
    if error.strerror is None:
        return str(error)
    file = "" if error.filename is None else f"{error.filename}: "
    # Our own errors name the file in their text, and have no filename.
    text = error.strerror if file or ":" in error.strerror else f"the system says: {error.strerror}"
    hints = {
        errno.ENOSPC: "make room",
        errno.EDQUOT: "make room",
        errno.EACCES: "choose another place, or ask for the permission",
        errno.EROFS: "choose another place",
        errno.EEXIST: "it is in the way, expected another name",
        errno.EISDIR: "expected a file",
        errno.ENOTDIR: "a part of the path is a file, expected a folder",
    }
    hint = hints.get(error.errno or 0, "")
    return f"{file}{text[:1].lower()}{text[1:]}" + (f" ({hint})" if hint else "")


def command(function: F, group: typer.Typer = app) -> F:
    """Register a function as a command, of its own or of a group, with its docstring as the help."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with clear_errors():
            return function(*args, **kwargs)

    # Typer keeps the line breaks of a docstring: join the lines of each paragraph.
    text = "\n\n".join(" ".join(part.split()) for part in (function.__doc__ or "").split("\n\n"))
    return group.command(help=text)(run)  # type: ignore[return-value]


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


def progress_bar(unit: str) -> "Progress":
    """Return a bar with the time left; it shows on terminals only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    where = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}, left"))
    return Progress(*columns, TimeRemainingColumn(), console=where, disable=not where.is_terminal, transient=True)
