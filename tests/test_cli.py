import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyg_equiformer import data, training
from pyg_equiformer.cli import app, seconds

WIDE = {"COLUMNS": "140", "TERM": "dumb"}


def call(*arguments):
    return CliRunner().invoke(app, list(arguments), env=WIDE)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def xyz_file(tmp_path):
    """Twelve distorted water molecules; the labels need not be true."""
    lines = []
    for i in range(12):
        lines += ["3", f'Properties=species:S:1:pos:R:3:forces:R:3 energy={-10 - 0.01 * i} pbc="F F F"']
        lines += [
            f"O 0 0 {0.1 + 0.01 * i} 0 0 {0.1 * i}",
            "H 0 0.76 -0.48 0 0 -0.1",
            "H 0 -0.76 -0.48 0.1 0 0",
        ]
    path = tmp_path / "water.xyz"
    path.write_text("\n".join(lines) + "\n")
    return path


def one_red_line(result, code):
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


def test_version_is_that_of_the_package():
    result = call("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"pyg_equiformer \d+\.\d+\.\d+\n", result.output)


def test_help_names_every_option_with_units_and_defaults():
    text = " ".join(call("train", "--help").output.split())
    for word in (
        "--test",
        "--preset",
        "--epochs",
        "--max-time",
        "--seed",
        "--out",
        "--name",
        "eV/Å",
        "[default: small]",
    ):
        assert word in text
    text = " ".join(call("sample", "--help").output.split())
    for word in (
        "--frames",
        "1200",
        "--temperature",
        "in K",
        "500.0",
        "--interval",
        "in fs",
        "20.0",
        "--timestep",
    ):
        assert word in text


def test_help_does_not_load_what_the_commands_need():
    code = "import sys, pyg_equiformer.cli; print([m for m in ('lightning', 'ase', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_train_on_a_file_writes_a_run(xyz_file):
    result = call("train", str(xyz_file), "--epochs", "1", "--name", "first")
    assert result.exit_code == 0, result.output
    assert "MAE" in result.output
    names = {p.name for p in Path("runs/first").iterdir()}
    assert {"model.pt", "metrics.json", "parity.png", "learning_curve.png", "config.yaml"} <= names


def test_train_without_arguments_is_the_sample(monkeypatch):
    calls = []
    monkeypatch.setattr(
        training, "train_sample", lambda config, **options: calls.append((config, options)), raising=False
    )
    assert call("train", "--seed", "3").exit_code == 0
    assert call("train", "--max-time", "2m").exit_code == 0
    (first, options), (second, _) = calls
    assert first == training.TrainConfig(seed=3)
    assert options["out"] is None
    assert options["name"] is None
    assert second.epochs is None
    assert second.max_time == 120.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.xyz"], "there is no file nothing.xyz"),
        (["--preset", "huge"], "huge"),
        (["--max-time", "soon"], "expected a duration such as 90s, 20m or 1.5h, got 'soon'"),
        (["--test", "a.xyz"], "--test was given without DATA"),
        (["--out", "a", "--name", "b"], "expected one of them"),
    ],
)
def test_bad_arguments_of_train_give_one_line(arguments, message):
    assert message in one_red_line(call("train", *arguments), 2)
    assert not Path("runs").exists()


def test_a_file_without_forces_gives_one_line():
    Path("bare.xyz").write_text("1\nProperties=species:S:1:pos:R:3 energy=1.0\nH 0 0 0\n")
    assert "forces" in one_red_line(call("train", "bare.xyz"), 2)


def test_sample_writes_what_train_reads():
    result = call("sample", "water", "--frames", "3", "--equilibration", "0", "--interval", "1", "-o", "w.xyz")
    assert result.exit_code == 0, result.output
    assert "3 structures" in result.output
    assert len(data.read_structures("w.xyz")) == 3


def test_sample_names_the_file_after_the_molecule_and_never_overwrites():
    options = ["--frames", "1", "--equilibration", "0"]
    assert call("sample", "smiles:[H][H]", *options).exit_code == 0
    assert Path("smiles__H__H.xyz").exists()
    assert "exists already" in one_red_line(call("sample", "smiles:[H][H]", *options), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["notamolecule"], "notamolecule"),
        (["water", "--temperature", "-3"], "temperature: expected a positive number of K"),
        (["water", "--interval", "0.7"], "interval: expected a whole number of timesteps"),
        (["water", "-o", "w.csv"], "expected a file name that ends in"),
    ],
)
def test_bad_arguments_of_sample_give_one_line(arguments, message):
    assert message in one_red_line(call("sample", *arguments), 2)


def test_ctrl_c_while_sampling_says_where_the_structures_are():
    command = [
        sys.executable,
        "-m",
        "pyg_equiformer.cli",
        "sample",
        "ethanol",
        "--equilibration",
        "0",
        "-o",
        "e.xyz",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **WIDE})
    partial, end = Path("e.partial.xyz"), time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by Ctrl-C; the structures so far are in e.partial.xyz" in stderr
    assert len(data.read_structures(partial)) >= 1


@pytest.mark.parametrize(("text", "value"), [("90s", 90.0), ("20m", 1200.0), ("1.5h", 5400.0), ("45", 45.0)])
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "-3s", "0", "nan", "inf", "5d"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)


def test_without_typer_the_error_names_the_extra():
    code = "import sys; sys.modules['typer'] = None; from pyg_equiformer.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "pyg_equiformer[train]"' in done.stderr
    assert "Traceback" not in done.stderr
