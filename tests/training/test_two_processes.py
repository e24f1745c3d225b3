import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyg_equiformer import load_model

from .two_processes import record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "tests.training.two_processes", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return folder, record(folder / "run", batch_size=4)


def test_two_processes_have_the_gradients_of_one_with_the_double_batch(two_devices, one_device):
    together, alone = torch.load(two_devices / "gradients.pt"), one_device[1]
    assert len(together) == len(alone) == 10
    for two, one in zip(together, alone):
        assert two.keys() == one.keys()
        for name in one:
            # In float64; weights have moved on by the same steps before all but the first comparison.
            scale = max(float(one[name].abs().max()), 1e-6)
            assert float((two[name] - one[name]).abs().max()) <= 1e-10 * max(scale, 1.0), name


def test_two_processes_end_with_one_folder_and_the_same_errors(two_devices, one_device):
    names = {p.name for p in (two_devices / "run").iterdir()}
    assert {"model.pt", "metrics.json", "report.md", "config.yaml", "metrics.csv"} <= names
    two, one = (json.loads((f / "run" / "metrics.json").read_text()) for f in (two_devices, one_device[0]))
    for split in ("test", "valid"):
        for name in ("energy_mae", "forces_mae"):
            assert two[split][name]["value"] == pytest.approx(one[split][name]["value"], rel=1e-8)
    a, b = (load_model(f / "run" / "model.pt").state_dict() for f in (two_devices, one_device[0]))
    assert all(torch.allclose(a[k], b[k], rtol=0, atol=1e-9) for k in a)
    logs = [(f / "run" / "metrics.csv").read_text().splitlines() for f in (two_devices, one_device[0])]
    assert [len(log) for log in logs] == [3, 3]
    # The errors of all devices, not of the first alone.
    assert [float(x) for x in logs[0][-1].split(",")] == pytest.approx(
        [float(x) for x in logs[1][-1].split(",")], rel=1e-5
    )
