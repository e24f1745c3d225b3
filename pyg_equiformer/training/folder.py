"""Folders of runs: each run gets its own, and none is ever written into twice."""

from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from .engine import is_first_process

ROOT = Path("runs")  #: where runs go unless told otherwise
CONFIG = "config.yaml"  #: settings of a run, in its folder
COMMITTEE = "members"  #: number of members of a committee, in its folder
MEMBER = "member-"  #: folders of the members of a committee begin so


def new_folder(out: str | Path | None, name: str) -> Path:
    """Make and return the folder of a run.

    Args:
        out: the folder; it may exist but must be empty. None makes `runs/<name>`, or `runs/<name>-2` and
            so on where that exists.
        name: used if `out` is None.

    Raises:
        ValueError: if `out` is a file or holds anything, or the name is not a plain folder name.

    Example:
        >>> import tempfile
        >>> new_folder(f"{tempfile.mkdtemp()}/first", "").name
        'first'
    """
    if not is_first_process():
        # The first process of a run on several devices makes the folder; the others write nothing.
        return Path(out) if out is not None else ROOT / name.replace(":", "-")
    check_new(out, name)
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    while True:
        folder = free_folder(name)
        with suppress(FileExistsError):
            folder.mkdir(parents=True)  # the creation itself decides, so that two runs at once get two folders
            return folder


def free_folder(name: str) -> Path:
    """Return the folder in `runs/` that a run of this name would get now; it is not made.

    Example:
        >>> free_folder("a_name_of_its_own").as_posix()
        'runs/a_name_of_its_own'
    """
    name = name.replace(":", "-")  # of built-in data sets; file systems and copying tools take a colon for their own
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(folder for folder in map(ROOT.joinpath, names) if not folder.exists())


def check_new(out: str | Path | None, name: str) -> None:
    """Raise a `ValueError` if `new_folder` would."""
    if out is not None:
        folder = Path(out)
        if is_first_process() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists already, expected a new or empty folder for the run")
    elif not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"expected a name without slashes for the folder of the run, got {name!r}")


def existing_run(folder: str | Path) -> Path:
    """Return the folder of a run.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is not a run's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}, expected the folder of a run")
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} has no {CONFIG}, expected the folder of a run")
    return folder


def members(folder: Path) -> list[Path]:
    """Return the folders of a committee's members, [] for a single run."""
    found = [p for p in folder.glob(f"{MEMBER}*") if p.is_dir()]
    return sorted(found, key=lambda p: int(p.name.removeprefix(MEMBER)))
