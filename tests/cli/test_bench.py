import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from pyg_equiformer.bench.allocator import KEPT, unset

from .command import WIDE, call, fine, one_red_line

SETTINGS = ["--preset", "small", "--molecules", "2", "--repeats", "1", "--threads", "1", "--device", "cpu"]


def bench(*words, **env):
    # In this process the command must not start itself anew.
    return call("bench", *SETTINGS, *words, **{**KEPT, **env})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[str, Path]:
    """What the command printed and the folder that it wrote, run as a user would."""
    folder = tmp_path_factory.mktemp("bench") / "out"
    command = [sys.executable, "-m", "pyg_equiformer.cli", "bench", *SETTINGS, "--peers", "e3nn,openequivariance"]
    command += ["--no-memory", "--checkpoint", "block", "--json", f"{folder}/times.json"]
    env = {name: value for name, value in os.environ.items() if name not in KEPT}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**env, **WIDE})
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def test_the_command_starts_itself_anew_so_that_freed_memory_is_kept(finished):
    text, folder = finished
    if not unset({}):
        pytest.skip("another C library than glibc")
    assert text.startswith("starting anew with MALLOC_MMAP_THRESHOLD_=8589934592, MALLOC_TRIM_THRESHOLD_=8589934592\n")
    assert text.count("starting anew") == 1
    assert "keeps freed memory" in text
    assert "keeps freed memory" in json.loads((folder / "times.json").read_text())["machine"]["allocator"]


def test_the_json_file_holds_every_timing_and_is_what_the_table_says(finished):
    text, folder = finished
    result = json.loads((folder / "times.json").read_text())
    peers = [row["peer"] for row in result["results"]]
    assert peers == ["pyg_equiformer", "pyg_equiformer (checkpoint=block)", "e3nn"]
    for row in result["results"]:
        assert row["molecules"] == 2
        assert row["peer"] in text
        for task in ("forward", "step"):
            assert row[task]["median"] == statistics.median(row[task]["seconds"])
            assert f"{row[task]['times_ours']:.2f}"[:3] in text or row["peer"] == "pyg_equiformer"
    settings = result["settings"]
    assert (settings["preset"], settings["molecules"], settings["repeats"], settings["threads"]) == ("small", 2, 1, 1)
    assert {"torch", "e3nn", "python"} <= set(result["machine"]["versions"])


def test_who_takes_no_part_is_told(finished):
    text, folder = finished
    left_out = json.loads((folder / "times.json").read_text())["left_out"]
    assert list(left_out) == ["openequivariance"]
    assert f"openequivariance takes no part: {left_out['openequivariance']}" in text


def test_figures_lie_beside_the_json_file(finished):
    text, folder = finished
    assert {path.name for path in folder.iterdir()} == {"times.json", "times_peers.png"}
    assert (folder / "times_peers.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"→ .*times_peers\.png", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "qm8"], "there is no preset 'qm8'.*did you mean qm9"),
        (
            ["--peers", "e3nn,mace"],
            "there is no peer 'mace', expected some of pyg_equiformer, e3nn, equi",
        ),
        (["--scaling", "atoms,depth"], "there is no axis 'depth', expected all or some of atoms, degree"),
        (["--checkpoint", "blok"], "checkpoint must be one of"),
        (["--engine", "tritn"], "no argument engine|engine must be one of"),
        (["--device", "tpu"], "--device: expected auto, cpu or cuda, got 'tpu'"),
        (["--json", "."], "--json .: expected a file, this is a folder"),
        (["--figures", "file"], "file"),
        (["--repeats", "0"], "--repeats"),
        (["--molecules", "0"], "--molecules"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_gives_one_line_that_names_the_fix(words, message):
    Path("file").write_text("")
    assert re.search(message, one_red_line(bench(*words)))
    assert {path.name for path in Path().iterdir()} == {"file"}


def test_figures_without_matplotlib_are_refused_before_anything_is_timed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "pyg_equiformer[bench]"' in one_red_line(bench("--figures", "figures"), code=1)


def test_help_tells_of_every_option_within_80_columns():
    text = fine(call("bench", "--help", COLUMNS="80"))
    assert max(map(len, text.splitlines())) <= 80
    words = ["preset", "peers", "json", "figures", "scaling", "molecules", "repeats", "threads", "device", "no-memory"]
    for word in [*words, "engine", "compile", "precision", "checkpoint"]:
        assert f"--{word}" in text


def test_help_loads_no_torch():
    code = """
import sys
from pyg_equiformer.cli import app
try:
    app(["bench", "--help"])
except SystemExit as error:
    assert error.code in (None, 0)
print("loaded:", sorted({"torch", "numpy", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
