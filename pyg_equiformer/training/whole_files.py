"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and move what was written there to `path` when all went well.

    After an error or Ctrl-C what was written is removed, and a former file at `path` is as it was.

    Args:
        path: of the file; its folder is made.

    Raises:
        OSError: naming the file, if it cannot be written.

    Example:
        >>> import tempfile
        >>> with whole_file(f"{tempfile.mkdtemp()}/new.txt") as part:
        ...     _ = part.write_text("text")
        >>> part.exists()
        False
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The end of the name stays, as writers tell the format from it.
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.filename not in (None, str(part), part):
            raise  # it is about another file, one that is read on the way
        raise OSError(error.errno, f"could not write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # a file system that cannot be written to has no such file either
            part.unlink(missing_ok=True)
