"""The command line as a user meets it, and small files to give to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pyg_equiformer.cli import app

WIDE = {"COLUMNS": "140", "TERM": "dumb"}

#: A network that needs no time, as a user would type it.
TINY = [
    "model.num_layers=1",
    "model.irreps=8x0e+4x1e",
    "model.irreps_sh=1x0e+1x1e",
    "model.irreps_head=4x0e+2x1e",
    "model.irreps_ffn=8x0e+4x1e",
    "model.num_basis=8",
    "batch_size=4",
    "validations=2",
]


def call(*arguments: str, **env: str) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(arguments), env={**WIDE, **env})


def fine(result: Any) -> str:
    """Return what a command printed, which must have gone well."""
    assert result.exit_code == 0, result.output
    return result.output


def one_red_line(result: Any, code: int = 2) -> str:
    """Return the error of a command, which must be one line and no traceback."""
    assert result.exit_code == code, (result.output, result.exception)
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.output
    return result.stderr


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own, to be interrupted."""
    command = [sys.executable, "-m", "pyg_equiformer.cli", *arguments]
    env = {**os.environ, **WIDE, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, text=True, env=env, preexec_fn=_listen)


def _listen() -> None:
    """Heed Ctrl-C again, which shells teach jobs in the background to ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process has written a file that is not empty."""
    end = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.stat().st_size:
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"{path} was not written: {process.communicate()}")


#: A molecule of water with labels that need not be true.
WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy={energy} pbc="F F F"
O 0 0 {z} 0 0 {f}
H 0 0.76 -0.48 0 0 -0.1
H 0 -0.76 -0.48 0.1 0 0
"""


def water(index: int) -> str:
    """A frame of extended XYZ, another one for each index."""
    return WATER.format(energy=-2000 - 0.01 * index, z=0.1 + 0.01 * index, f=0.1 * index)


def write_waters(
    path: str, count: int = 12, change: Callable[[int, str], str] = lambda _, text: text, start: int = 0
) -> str:
    """Write frames of water, each of which may be changed, and return the path."""
    Path(path).write_text("".join(change(i, water(i)) for i in range(start, start + count)))
    return path


def only(index: int, change: Callable[[str], str]) -> Callable[[int, str], str]:
    """Change one frame."""
    return lambda i, text: change(text) if i == index else text


def with_label(comment: Callable[[int], str]) -> Callable[[int, str], str]:
    """Frames with a label of the structure in place of energy and forces."""

    def change(index: int, text: str) -> str:
        lines = text.splitlines()
        lines[1] = f'Properties=species:S:1:pos:R:3 {comment(index)} pbc="F F F"'
        return "\n".join([*lines[:2], *(" ".join(line.split()[:4]) for line in lines[2:])]) + "\n"

    return change


def listing(folder: Path = Path()) -> set[str]:
    """Everything in a folder and below."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def names(folder: str | Path) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def frames_of(path: str | Path) -> Sequence:
    """The structures of a file that ASE reads."""
    from ase.io import read

    return read(path, index=":")
