import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS
from pyg_equiformer.training.report import error_table, errors, format_metric, rank_correlation, write_metrics

from .predicted import CHARGES, DIPOLE, GAP, made_up

MOLECULES = [[8, 1], [8, 1], [6, 8], [8, 1, 1]]


@pytest.fixture
def predictions():
    return made_up([ENERGY, FORCES], MOLECULES)


def value(metrics, name):
    return metrics[name]["value"]


def test_errors_equal_numpy_and_carry_units(predictions):
    metrics = errors(predictions)
    energy, forces = (1000 * (predictions.predicted[n] - predictions.true[n]) for n in ("energy", "forces"))
    true = {n: 1000 * v for n, v in predictions.true.items()}
    expected = {
        "energy_mae": (np.mean(np.abs(energy)), "meV"),
        "energy_rmse": (np.sqrt(np.mean(energy**2)), "meV"),
        "energy_max": (np.max(np.abs(energy)), "meV"),
        "energy_mae_per_atom": (np.mean(np.abs(energy) / [2, 2, 2, 3]), "meV/atom"),
        "energy_rmse_per_atom": (np.sqrt(np.mean((energy / [2, 2, 2, 3]) ** 2)), "meV/atom"),
        "energy_std": (np.std(true["energy"]), "meV"),
        "energy_mae_of_std": (100 * np.mean(np.abs(energy)) / np.std(true["energy"]), "%"),
        "forces_mae": (np.mean(np.abs(forces)), "meV/Å"),
        "forces_rmse": (np.sqrt(np.mean(forces**2)), "meV/Å"),
        "forces_max": (np.max(np.abs(forces)), "meV/Å"),
        "forces_std": (np.std(true["forces"]), "meV/Å"),
        "forces_mae_of_std": (100 * np.mean(np.abs(forces)) / np.std(true["forces"]), "%"),
        "structures": (4, "1"),
        "atoms": (9, "1"),
    }
    assert set(metrics) == {*expected, "by_element"}
    for name, (number, unit) in expected.items():
        assert metrics[name]["value"] == pytest.approx(number, rel=1e-12), name
        assert metrics[name]["unit"] == unit


def test_errors_by_element_are_those_of_its_atoms(predictions):
    by_element = errors(predictions)["by_element"]
    assert list(by_element) == ["H", "C", "O"]
    assert [value(v, "atoms") for v in by_element.values()] == [4, 1, 4]
    carbon = 1000 * (predictions.predicted["forces"][4] - predictions.true["forces"][4])
    assert value(by_element["C"], "forces_mae") == pytest.approx(np.abs(carbon).mean())
    assert value(by_element["C"], "forces_rmse") == pytest.approx(np.sqrt((carbon**2).mean()))
    squares = sum(value(v, "forces_rmse") ** 2 * value(v, "atoms") for v in by_element.values())
    assert squares / 9 == pytest.approx(value(errors(predictions), "forces_rmse") ** 2)


def test_reference_energies_change_the_spread_but_no_error(predictions):
    references = np.array([-2000.0, -2000.0, -3000.0, -2010.0])
    shifted = replace(
        predictions,
        predicted={**predictions.predicted, "energy": predictions.predicted["energy"] + references},
        true={**predictions.true, "energy": predictions.true["energy"] + references},
    )
    told = errors(replace(shifted, references=references))
    for name, metric in errors(predictions).items():
        if name != "by_element":
            assert told[name]["value"] == pytest.approx(metric["value"], rel=1e-9), name
    assert value(errors(shifted), "energy_std") > 100 * value(told, "energy_std")


def test_units_of_other_properties_are_their_own():
    metrics = errors(made_up([GAP, DIPOLE, CHARGES, STRESS], MOLECULES))
    units = {name: metrics[f"{name}_mae"]["unit"] for name in ("gap", "dipole", "charges", "stress")}
    assert units == {"gap": "meV", "dipole": "D", "charges": "e", "stress": "meV/Å³"}
    assert "gap_mae_per_atom" not in metrics
    assert set(metrics["by_element"]["H"]) == {"charges_mae", "charges_rmse", "atoms"}


def test_missing_labels_are_left_out_and_the_rest_is_counted(predictions):
    whole = errors(predictions)
    assert "energy_labels" not in whole
    predictions.true["energy"][1] = np.nan
    predictions.true["forces"][4] = np.nan
    metrics = errors(predictions)
    kept = 1000 * np.abs(predictions.predicted["energy"] - predictions.true["energy"])[[0, 2, 3]]
    assert value(metrics, "energy_mae") == pytest.approx(kept.mean())
    assert value(metrics, "energy_mae_per_atom") == pytest.approx((kept / [2, 2, 3]).mean())
    assert value(metrics, "energy_labels") == 3
    assert value(metrics, "forces_labels") == 8
    assert set(metrics["by_element"]["C"]) == {"atoms"}


def test_predictions_that_are_not_finite_are_counted_and_never_reach_json(predictions, tmp_path):
    predictions.predicted["energy"][0] = np.nan
    predictions.predicted["forces"][3] = np.inf
    metrics = errors(predictions)
    assert value(metrics, "energy_not_finite") == 1
    assert value(metrics, "forces_not_finite") == 1
    assert math.isfinite(value(metrics, "energy_mae"))
    write_metrics(tmp_path / "metrics.json", metrics)


def test_without_labels_there_are_no_errors_and_without_spread_no_percentages():
    unlabelled = replace(made_up([ENERGY, FORCES], MOLECULES), true={})
    assert set(errors(unlabelled)) == {"structures", "atoms"}
    metrics = errors(made_up([ENERGY], [[1]]))
    assert "energy_mae_of_std" not in metrics
    assert "–" in render(error_table({"test": metrics}))


def test_a_committee_that_knows_its_errors_has_a_rank_correlation_of_one():
    committee = made_up([ENERGY, FORCES], MOLECULES, committee=True)
    error = {name: committee.predicted[name] - committee.true[name] for name in committee.true}
    # Any growing function of the error ranks as the error does.
    perfect = replace(committee, spread={name: np.abs(e) ** 3 for name, e in error.items()})
    perfect.spread["forces"][:] = np.linalg.norm(error["forces"], axis=1, keepdims=True)
    metrics = errors(perfect)
    assert value(metrics, "energy_spread_correlation") == pytest.approx(1.0)
    assert value(metrics, "forces_spread_correlation") == pytest.approx(1.0)
    assert metrics["energy_spread"]["value"] == pytest.approx(1000 * np.mean(np.abs(error["energy"]) ** 3))
    assert metrics["energy_spread"]["unit"] == "meV"
    opposite = replace(perfect, spread={name: 1 / values for name, values in perfect.spread.items()})
    assert value(errors(opposite), "energy_spread_correlation") == pytest.approx(-1.0)


def test_rank_correlation_shares_ranks_among_equal_values():
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4, by hand: 4.5 / sqrt(4.5 * 5).
    assert rank_correlation(np.array([0.0, 5.0, 5.0, 9.0]), np.arange(4.0)) == pytest.approx(4.5 / math.sqrt(22.5))
    assert math.isnan(rank_correlation(np.ones(4), np.arange(4.0)))
    assert math.isnan(rank_correlation(np.arange(2.0), np.arange(2.0)))


def test_json_is_strict_and_written_whole(tmp_path, predictions):
    write_metrics(tmp_path / "metrics.json", {"test": errors(predictions)})
    assert json.loads((tmp_path / "metrics.json").read_text())["test"]["forces_mae"]["unit"] == "meV/Å"
    with pytest.raises(ValueError, match="JSON"):
        write_metrics(tmp_path / "metrics.json", {"test": float("nan")})
    assert "test" in (tmp_path / "metrics.json").read_text()
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_the_table_shows_the_errors_of_each_target_and_set(predictions):
    text = render(error_table({"test_300K": errors(predictions), "test_600K": errors(predictions)}, "3BPA"))
    for word in ("3BPA", "MAE", "std of labels", "meV/Å", "%", "meV/atom", "test_300K", "test_600K"):
        assert word in text
    assert "committee" not in text
    assert text.count("forces") == 2
    committee = errors(made_up([ENERGY, FORCES], MOLECULES, committee=True))
    assert "committee" in render(error_table({"test": committee}))


def test_numbers_have_digits_that_mean_something():
    assert format_metric({"value": 1234.56, "unit": "meV"}) == "1235 meV"
    assert format_metric({"value": 0.0001234, "unit": "eV/Å³"}) == "0.00012 eV/Å³"
    assert format_metric({"value": 0.0, "unit": "1"}) == "0"


def render(table):
    with open(os.devnull, "w") as nowhere:
        console = Console(width=160, record=True, file=nowhere)
        console.print(table)
        return console.export_text()
