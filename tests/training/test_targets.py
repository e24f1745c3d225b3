"""Every kind of label trains from end to end: errors fall, and all that is reported is finite."""

import json

import numpy as np
import pytest
import torch

from pyg_equiformer import load_model
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS, Target
from pyg_equiformer.training import Structures, TrainConfig
from pyg_equiformer.training.data_module import StructureDataModule

from .conftest import TINY
from .runs import numbers, quiet_train
from .systems import TINY_WITH_VECTORS, boxed_water, charged_water, copper

DIPOLE, CHARGES = Target("dipole", "graph_vector", "e·Å"), Target("charges", "node_scalar", "e")
GAP, STRETCH = Target("gap", "graph_scalar", "eV"), Target("stretch", "graph_scalar", "Å")


def trained(sets, epochs, **settings):
    given = {"model": TINY_WITH_VECTORS, "batch_size": 6, "validations": 2, "learning_rate": 1e-2, "ema_decay": 0.9}
    return quiet_train(sets, TrainConfig(**{**given, "epochs": epochs, **settings}))


def waters(*targets):
    train, test = ([charged_water(i) for i in seeds] for seeds in (range(24), range(100, 110)))
    return Structures(train, test=test, targets=targets, name="charged")


def assert_learns(sets, names, epochs, factor, **settings):
    """Errors on the test set fall to a part of the labels' spread; returns the folder."""
    result = trained(sets, epochs, **settings)
    for name in names:
        found = result.metrics["test"]
        assert found[f"{name}_mae"]["value"] < factor * found[f"{name}_std"]["value"], name
    assert np.isfinite(numbers(result.metrics)).all()
    return result.folder


def test_dipoles_are_learnt_as_vectors():
    folder = assert_learns(waters(DIPOLE), ["dipole"], 25, 0.6)
    # They turn with the molecule.
    model, structure = load_model(folder / "model.pt"), charged_water(100)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    turned = model(structure.z, structure.pos @ turn)["dipole"]
    torch.testing.assert_close(turned, model(structure.z, structure.pos)["dipole"] @ turn, atol=1e-4, rtol=1e-4)


def test_charges_are_learnt_for_each_atom():
    folder = assert_learns(waters(CHARGES), ["charges"], 20, 0.2)
    by_element = json.loads((folder / "metrics.json").read_text())["test"]["by_element"]
    assert by_element["H"]["charges_mae"]["unit"] == "e"


def test_two_properties_are_learnt_at_once():
    folder = assert_learns(waters(GAP, STRETCH), ["gap", "stretch"], 25, 0.7, reference="mean")
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    assert "valid/gap_mae" in header
    assert "valid/stretch_mae" in header


def test_energies_alone_are_learnt(structures):
    sets = Structures(structures.train, test=structures.test, targets=(ENERGY,))
    short, long = (trained(sets, n, model=TINY).metrics["test"]["energy_mae"]["value"] for n in (1, 12))
    assert long < 0.85 * short


def test_energy_forces_and_stress_of_crystals_are_learnt():
    sets = Structures(
        [copper(i) for i in range(16)],
        [copper(i) for i in range(50, 52)],
        [copper(i) for i in range(100, 104)],
        name="copper",
        targets=(ENERGY, FORCES, STRESS),
    )
    settings = {"model": TINY, "batch_size": 4, "weight": {"stress": 500.0, "forces": 10.0}, "scale": "none"}
    short, long = (trained(sets, n, **settings).metrics["test"] for n in (1, 18))
    for name in ("energy", "forces", "stress"):
        assert long[f"{name}_mae"]["value"] < 0.75 * short[f"{name}_mae"]["value"], name
    assert long["stress_mae"]["unit"] == "meV/Å³"


def test_molecules_without_stress_beside_crystals_leave_no_nan_anywhere():
    mixed = [x for i in range(6) for x in (copper(i), boxed_water(i))]
    sets = Structures(
        mixed,
        [copper(50), boxed_water(50)],
        {"crystals": [copper(60)], "molecules": [boxed_water(60)]},
        "mixed",
        (ENERGY, FORCES, STRESS),
    )
    with pytest.raises(ValueError, match="structure 1 of the training set has stress that are NaN or infinite"):
        trained(sets, 1, model=TINY)
    result = trained(sets, 3, model=TINY, read={"missing_labels": "mask"}, energy_per_atom=True)
    assert np.isfinite(numbers(result.metrics)).all()
    assert all(bool(v.isfinite().all()) for v in load_model(result.folder / "model.pt").state_dict().values())
    assert "nan" not in (result.folder / "metrics.csv").read_text().lower()
    assert "stress_mae" in result.metrics["crystals"]
    assert "stress_mae" not in result.metrics["molecules"]
    assert result.metrics["train"]["stress_labels"]["value"] == 6


def test_a_batch_without_any_stress_label_trains():
    sets = Structures(
        [copper(0), copper(1), *[boxed_water(i) for i in range(6)]],
        [copper(50)],
        [copper(60)],
        "mixed",
        (ENERGY, FORCES, STRESS),
    )
    config = {"model": TINY, "batch_size": 1, "read": {"missing_labels": "mask"}}
    assert np.isfinite(numbers(trained(sets, 1, **config).metrics)).all()


def test_periodic_neighbours_are_those_in_other_cells():
    sets = Structures([copper(0)], [copper(1)], [copper(2)], targets=(ENERGY, FORCES, STRESS))
    data = StructureDataModule(sets, cutoff=3.2, config=TrainConfig())
    # A strained fcc cell: about the twelve nearest neighbours of each of four atoms.
    assert 40 <= data.train[0].radius_edge_index.shape[1] <= 60
    assert data.train[0].radius_edge_shift.abs().max() > 3.0
