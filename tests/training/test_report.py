import json

import numpy as np
import pytest
import torch
from rich.console import Console
from torch_geometric.data import Data

from pyg_equiformer.training.report import Predictions, error_table, errors, write_metrics


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    energy, forces = rng.normal(size=4), rng.normal(size=(9, 3))
    return Predictions(
        energy + rng.normal(size=4), energy, forces + rng.normal(size=(9, 3)), forces, np.array([2, 2, 2, 3])
    )


def test_errors_equal_numpy_and_carry_units(predictions):
    p, metrics = predictions, errors(predictions)
    energy, forces = 1000 * (p.energy - p.energy_true), 1000 * (p.forces - p.forces_true)
    expected = {
        "energy_mae": (np.mean(np.abs(energy)), "meV"),
        "energy_rmse": (np.sqrt(np.mean(energy**2)), "meV"),
        "energy_mae_per_atom": (np.mean(np.abs(energy) / [2, 2, 2, 3]), "meV/atom"),
        "forces_mae": (np.mean(np.abs(forces)), "meV/Å"),
        "forces_rmse": (np.sqrt(np.mean(forces**2)), "meV/Å"),
        "energy_std": (1000 * np.std(p.energy_true), "meV"),
        "forces_std": (1000 * np.std(p.forces_true), "meV/Å"),
        "energy_mae_of_std": (np.mean(np.abs(energy)) / np.std(10 * p.energy_true), "%"),
        "forces_mae_of_std": (np.mean(np.abs(forces)) / np.std(10 * p.forces_true), "%"),
    }
    assert set(metrics) == {*expected, "structures"}
    for name, (value, unit) in expected.items():
        assert metrics[name]["value"] == pytest.approx(value, rel=1e-12), name
        assert metrics[name]["unit"] == unit


def test_reference_energies_are_taken_off_both_sides():
    structures = [
        Data(z=torch.tensor(z), energy=torch.tensor([e], dtype=torch.float64), forces=torch.zeros(len(z), 3))
        for z, e in (([1], -10.0), ([1, 1], -21.0))
    ]
    outputs = [
        {
            "energy": torch.tensor([-10.5, -21.0], dtype=torch.float64),
            "forces": torch.zeros(3, 3),
            "num_atoms": torch.tensor([1, 2]),
        }
    ]
    collected = Predictions.collect(outputs, structures, {1: -10.0})
    assert collected.energy_true.tolist() == [0.0, -1.0]
    assert collected.energy.tolist() == [-0.5, -1.0]


def test_without_a_spread_there_are_no_percentages():
    one = Predictions(np.ones(1), np.ones(1), np.zeros((1, 3)), np.zeros((1, 3)), np.ones(1, dtype=int))
    metrics = errors(one)
    assert "energy_mae_of_std" not in metrics
    assert "–" in render(error_table(metrics))


def test_json_is_strict_and_written_whole(tmp_path, predictions):
    write_metrics(tmp_path / "metrics.json", {"test": errors(predictions)})
    assert json.loads((tmp_path / "metrics.json").read_text())["test"]["forces_mae"]["unit"] == "meV/Å"
    with pytest.raises(ValueError, match="JSON"):
        write_metrics(tmp_path / "metrics.json", {"test": float("nan")})
    assert "test" in (tmp_path / "metrics.json").read_text()


def test_the_table_shows_errors_beside_the_spread(predictions):
    text = render(error_table(errors(predictions), "water"))
    for word in ("water", "MAE", "spread (std)", "meV/Å", "%", "meV/atom"):
        assert word in text


def render(table):
    console = Console(width=120, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()
