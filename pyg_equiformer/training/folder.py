"""Folders of runs: each run gets its own, and none is ever written into twice."""

from pathlib import Path

ROOT = Path("runs")  #: where runs go unless told otherwise


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
    if out is not None:
        folder = Path(out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists already, expected a new or empty folder for the run")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"expected a name without slashes for the folder of the run, got {name!r}")
    number = 1
    while True:
        folder = ROOT / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)  # the creation itself decides, so that two runs at once get two folders
            return folder
        except FileExistsError:
            number += 1
