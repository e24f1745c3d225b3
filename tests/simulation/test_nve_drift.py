"""The script benchmarks/nve_drift.py: its statistics, and a short run."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pyg_equiformer import save_model

from .conftest import water

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nve_drift.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("nve_drift", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(count: int, memory: float, seed: int) -> np.ndarray:
    """Numbers of variance 1 whose correlation falls by `memory` from each to the next."""
    white = np.random.default_rng(seed).standard_normal(count)
    out = np.empty(count)
    out[0] = white[0]
    for k in range(1, count):
        out[k] = memory * out[k - 1] + (1 - memory**2) ** 0.5 * white[k]
    return out


def test_the_slope_of_a_line_is_exact(script):
    time = np.linspace(0, 1, 50)
    slope, error = script.drift(time, 3.0 - 2.5 * time)
    assert slope == pytest.approx(-2.5)
    assert error < 1e-12


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_standard_errors_cover_the_scatter_of_slopes_with_and_without_correlation(script, memory):
    time = np.linspace(0, 1, 2000)
    found = np.array([script.drift(time, noise(2000, memory, seed)) for seed in range(60)])
    scatter, told = found[:, 0].std(), found[:, 1].mean()
    assert 0.7 * scatter < told < 3 * scatter
    if memory:
        assert told > 2.5 * script.drift(time, noise(2000, 0.0, 0))[1]


def test_a_short_run_writes_numbers_and_a_figure(molecule_model, tmp_path):
    from ase.io import write

    save_model(tmp_path / "model.pt", molecule_model, elements=[1, 8])
    write(tmp_path / "water.xyz", water())
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path / "water.xyz"), "--time", "0.005"]
    command += ["--seeds", "2", "--every", "1", "--name", "water", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads((tmp_path / "results" / "nve_drift-water.json").read_text())
    assert [run["seed"] for run in results["runs"]] == [0, 1]
    assert all(np.isfinite(run["slope"]) and run["standard_error"] > 0 for run in results["runs"])
    assert results["hardware"]["versions"]["torch"]
    assert results["unit"] == "meV/atom/ns"
    assert (tmp_path / "figures" / "nve_drift-water.png").exists()
