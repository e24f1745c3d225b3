"""Where the model is in what users name."""

from pathlib import Path

from .pretrained import is_pretrained

MODEL = "model.pt"  #: the trained model in the folder of a run


def find_model(path: str | Path) -> Path:
    """Return what `load_model` and `read_extra` read: the file in the folder of a run, or what was given.

    Args:
        path: folder of a run, its `model.pt`, another file, or a folder to pass on (`hub`).

    Raises:
        FileNotFoundError: if there is no such file.

    Example:
        >>> find_model("no-run")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no file no-run, expected the folder of a run, its model.pt, or a shared model
    """
    path = Path(path)
    if path.is_dir() and is_pretrained(path):
        return path
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no file {file}, expected the folder of a run, its {MODEL}, or a shared model"
        )
    return file
