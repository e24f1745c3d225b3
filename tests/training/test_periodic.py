"""Stresses are trained on, evaluated and predicted, by one model and by a committee."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from rich.console import Console
from torch_geometric.data import Data

from pyg_equiformer import load_model
from pyg_equiformer.data.label_units import stress_factor
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS
from pyg_equiformer.training import Structures, TrainConfig, evaluate, predict_file, train_committee

from ..shared_data import DATA
from .conftest import TINY
from .runs import quiet_train
from .systems import copper

TARGETS = (ENERGY, FORCES, STRESS)


def coppers(first: int, count: int) -> list[Data]:
    return [copper(i) for i in range(first, first + count)]


def measured(element: str, part: str, count: int) -> list[Data]:
    """Crystals from all over a set, with energies, forces and stress."""
    if not (DATA / "mlearn.npz").is_file():
        pytest.skip("the benchmark data are not beside this checkout")
    given, prefix = np.load(DATA / "mlearn.npz"), f"{element}/{part}/"
    arrays = {name.removeprefix(prefix): given[name] for name in given.files if name.startswith(prefix)}
    ends, found = arrays["n_atoms"].cumsum(), []
    for k in np.linspace(0, len(ends) - 1, count).round().astype(int).tolist():
        rows = slice(int(ends[k] - arrays["n_atoms"][k]), int(ends[k]))
        xx, yy, zz, xy, yz, zx = (-stress_factor("kbar") * arrays["virial_stress"][k]).tolist()
        found.append(
            Data(
                z=torch.full((rows.stop - rows.start,), {"Si": 14, "Mo": 42}[element]),
                pos=torch.from_numpy(arrays["pos"][rows]).float(),
                cell=torch.from_numpy(arrays["cell"][k : k + 1]).float(),
                pbc=torch.ones(1, 3, dtype=torch.bool),
                energy=torch.tensor([arrays["energy"][k]], dtype=torch.float64),
                forces=torch.from_numpy(arrays["forces"][rows]).float(),
                stress=torch.tensor([[[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]]]),
            )
        )
    return found


def test_the_default_weight_makes_the_stress_count():
    """With a weight of 0 the same run, to the same order of batches, ends with larger errors of the stress."""
    sets = Structures(coppers(0, 16), coppers(50, 2), coppers(100, 4), "copper", TARGETS)
    config = TrainConfig(model=TINY, batch_size=4, epochs=8, validations=1, learning_rate=1e-2, ema_decay=0.9)
    runs = [quiet_train(sets, config.replace(weight=w)).metrics["test"] for w in ({}, {"stress": 0})]
    assert runs[0]["stress_mae"]["value"] < 0.9 * runs[1]["stress_mae"]["value"]


@pytest.mark.parametrize("element", ["Si", "Mo"])
def test_stresses_of_measured_crystals_are_learnt(element):
    train, test = measured(element, "training", 12), measured(element, "test", 4)
    sets = Structures(train, test[:1], test, element, TARGETS)
    config = TrainConfig(
        model=TINY, batch_size=2, validations=1, learning_rate=1e-2, ema_decay=0.9, energy_per_atom=True, epochs=1
    )
    short, long = (quiet_train(sets, config.replace(epochs=n)).metrics["train"] for n in (1, 18))
    assert long["stress_mae"]["value"] < 0.85 * short["stress_mae"]["value"]


def test_a_committee_trains_evaluates_and_predicts_stresses(tmp_path):
    sets = Structures(coppers(0, 6), coppers(6, 1), coppers(7, 2), "copper", TARGETS)
    config = TrainConfig(model=TINY, epochs=1, batch_size=4, validations=1)
    committee = train_committee(config, 2, structures=sets, out=tmp_path / "run", console=Console(quiet=True))
    assert committee.metrics["test"]["stress_spread"]["unit"] == "meV/Å³"
    assert "stress" in (committee.folder / "report.md").read_text(encoding="utf-8")
    frames = []
    for c in coppers(7, 2):
        atoms = Atoms(c.z.numpy(), c.pos.double().numpy(), cell=c.cell[0].double().numpy(), pbc=True)
        atoms.info |= {"energy": float(c.energy), "stress": c.stress[0].double().numpy()}
        atoms.arrays["forces"] = c.forces.double().numpy()
        frames.append(atoms)
    write(tmp_path / "test.xyz", frames)
    found = evaluate(committee.folder, str(tmp_path / "test.xyz"))
    for name in ("stress_mae", "stress_spread"):
        assert found.metrics["test"][name]["value"] == pytest.approx(committee.metrics["test"][name]["value"], rel=1e-3)
    predict_file(committee.folder, str(tmp_path / "test.xyz"), tmp_path / "out.xyz")
    model = load_model(committee.folder / "model.pt")
    for atoms, c in zip(read(tmp_path / "out.xyz", ":"), coppers(7, 2), strict=True):
        out = model(c)  # finds the images by itself
        np.testing.assert_allclose(atoms.get_stress(voigt=False), out["stress"][0].detach().numpy(), atol=1e-5)
        assert np.ptp(out["stress_std"].detach().numpy()) > 0
        assert any(name.startswith("stress_std") for name in atoms.info)


def test_a_crystal_with_an_atom_twice_is_refused_by_its_number():
    twice = copper(3).clone()
    twice.pos[1] = twice.pos[0] + twice.cell[0, 2]
    sets = Structures([copper(0), twice], [copper(6)], [copper(7)], "copper", TARGETS)
    with pytest.raises(ValueError, match=r"structure 1 of the training set: atoms 0 and 1 .* are at one place"):
        quiet_train(sets, TrainConfig(model=TINY, epochs=1))
