"""Files that are whole or not there."""

import subprocess
import sys

import pytest
import torch

from pyg_equiformer.checkpoints import atomic_save

#: A limit on the size of files stands for a full disk: writing stops in the middle, with an OSError.
FULL_DISK = """
import resource, sys, torch
from pyg_equiformer.checkpoints import atomic_save
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for path in (sys.argv[1], sys.argv[1] + ".new"):
    try:
        atomic_save({"weights": torch.ones(100_000)}, path)
    except OSError as error:
        print(error, file=sys.stderr)
"""

KILLED = """
import os, signal, sys, torch
from pyg_equiformer.checkpoints import atomic_save
real = os.fsync
os.fsync = lambda handle: (real(handle), os.kill(os.getpid(), signal.SIGKILL))
atomic_save({"step": 2}, sys.argv[1])
"""


def run(program: str, path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX")
def test_a_full_disk_names_the_file_and_leaves_the_former_one_whole(tmp_path):
    path = tmp_path / "state.pt"
    atomic_save({"step": 1}, path)
    done = run(FULL_DISK, path)
    assert done.returncode == 0, done.stderr
    assert f"could not write {path}, the file that was there is whole: File too large" in done.stderr
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert f"could not write {path}.new, no such file was made: File too large" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_process_killed_while_writing_leaves_the_former_file_whole(tmp_path):
    path = tmp_path / "state.pt"
    atomic_save({"step": 1}, path)
    assert run(KILLED, path).returncode == -9
    assert torch.load(path, weights_only=True) == {"step": 1}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"could not write .*none/state\.pt, no such file was made"):
        atomic_save({}, tmp_path / "none" / "state.pt")


def test_content_that_cannot_be_packed_leaves_no_debris(tmp_path):
    with pytest.raises(Exception, match="pickle"):
        atomic_save({"function": lambda: None}, tmp_path / "state.pt")
    assert not list(tmp_path.iterdir())


def test_the_file_has_the_permissions_of_an_ordinary_one(tmp_path):
    atomic_save({}, tmp_path / "state.pt")
    (tmp_path / "plain").touch()
    assert (tmp_path / "state.pt").stat().st_mode == (tmp_path / "plain").stat().st_mode
