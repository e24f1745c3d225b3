"""Files that hold all of their content or do not exist."""

import os
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch


def atomic_save(content: Any, path: str | Path) -> None:
    """Write `torch.save(content)` to a file, whole or not at all, whenever the process may end.

    It is written beside the file and then takes its place, so that at every moment the file is the former one or
    the new one.

    Args:
        content: tensors and plain values, for a file that loads with `weights_only=True`.
        path: the file; its folder must exist.

    Raises:
        OSError: if it cannot be written (disk full, no such folder, no permission), naming it; a former file is
            then as it was.

    Example:
        >>> path = os.path.join(tempfile.mkdtemp(), "state.pt")
        >>> atomic_save({"step": 3}, path)
        >>> torch.load(path, weights_only=True)
        {'step': 3}
    """
    packed = BytesIO()  # writing to a full disk itself, torch would fail with an error that does not say so
    torch.save(content, packed)
    atomic_write(path, packed.getbuffer())


def atomic_write(path: str | Path, packed: bytes | memoryview) -> None:
    """Write bytes to a file as `atomic_save` writes tensors, with the same errors."""
    path = Path(path)
    try:
        _replace(path, packed)
    except OSError as error:
        before = "the file that was there is whole" if path.exists() else "no such file was made"
        raise OSError(error.errno, f"could not write {path}, {before}: {error.strerror or error}") from error


def _replace(path: Path, packed: bytes | memoryview) -> None:
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())  # temporary files are private, a checkpoint is not
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
