import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from rich.console import Console

from pyg_equiformer import Equiformer, checkpoints, load_model
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.data.structure_sets import STRESS, Target
from pyg_equiformer.training import Structures, TrainConfig, evaluate, load_run, predict_file, train_committee

from .conftest import TINY, water
from .runs import quiet_train
from .systems import charged_water, copper

CONFIG = TrainConfig(model=TINY, epochs=2, batch_size=7, validations=1)
GAP = Target("gap", "graph_scalar", "eV")


def sets(**changes):
    given = {"test": [water(i) for i in range(100, 106)], "name": "water"}
    return Structures([water(i) for i in range(20)], **{**given, **changes})


def as_atoms(structure, labels=("energy", "forces")):
    atoms = Atoms(structure.z.numpy(), structure.pos.double().numpy())
    if "cell" in structure:
        atoms.set_cell(structure.cell[0].double().numpy())
        atoms.set_pbc(structure.pbc[0].numpy())
    for name in labels:
        value = structure[name].double().numpy()
        if name == "forces":
            atoms.arrays[name] = value
        else:
            atoms.info[name] = float(value[0]) if value.size == 1 else value[0]
    return atoms


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return quiet_train(sets(), CONFIG, out=tmp_path_factory.mktemp("evaluated") / "run")


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    structures = Structures([charged_water(i) for i in range(12)], targets=(GAP,), name="gaps")
    return quiet_train(structures, CONFIG, out=tmp_path_factory.mktemp("gaps") / "run")


@pytest.fixture
def frames(tmp_path):
    write(tmp_path / "test.xyz", [as_atoms(water(i)) for i in range(100, 106)])
    return str(tmp_path / "test.xyz")


def test_a_trained_model_is_loaded_from_its_folder_or_its_file(run):
    for path in (run.folder, run.folder / "model.pt", str(run.folder)):
        loaded = load_run(path)
        assert loaded.config == CONFIG
        assert [t.name for t in loaded.targets] == ["energy", "forces"]
        assert not loaded.model.training


def test_paths_that_hold_no_trained_model_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none, expected the folder of a run"):
        load_run(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"model\.pt, expected the folder of a run"):
        load_run(tmp_path)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pt"):
        load_run(tmp_path / "text.pt")
    checkpoints.save_model(tmp_path / "bare.pt", Equiformer.from_preset("small", **TINY))
    with pytest.raises(ValueError, match=r"bare\.pt was not trained by pyg-equiformer train"):
        load_run(tmp_path / "bare.pt")


def test_errors_on_a_file_are_those_of_the_run(run, frames, tmp_path):
    done = []
    found = evaluate(run.folder, frames, out=tmp_path / "errors", progress=lambda k, n: done.append((k, n)))
    for name in ("energy_mae", "forces_mae", "forces_rmse"):
        # The file has eight decimals.
        assert found.metrics["test"][name]["value"] == pytest.approx(run.metrics["test"][name]["value"], rel=1e-4)
    assert done[-1] == (6, 6)
    assert {p.name for p in found.folder.iterdir()} == {"metrics.json", "parity.png"}
    assert json.loads((tmp_path / "errors" / "metrics.json").read_text()) == found.metrics
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(found.table)
    assert "test: errors on 6 structures" in console.export_text()


def test_results_go_beside_the_run_and_are_not_overwritten(run, frames):
    found = evaluate(run.folder, frames)
    assert found.folder == run.folder / "eval-test"
    with pytest.raises(ValueError, match=r"eval-test exists already, expected a new folder"):
        evaluate(run.folder, frames)


def test_what_is_left_out_is_told(run, tmp_path):
    twice = [as_atoms(water(i)) for i in (100, 101, 100)]
    write(tmp_path / "twice.xyz", twice)
    found = evaluate(run.folder, str(tmp_path / "twice.xyz"))
    assert found.metrics["twice"]["structures"]["value"] == 2
    assert len(found.notes) == 1
    assert "1" in found.notes[0]
    kept = evaluate(
        run.folder,
        str(tmp_path / "twice.xyz"),
        settings={"read": {"duplicates": "keep"}},
        out=tmp_path / "kept",
    )
    assert kept.metrics["twice"]["structures"]["value"] == 3


def test_labels_that_are_missing_are_an_error_or_masked(run, tmp_path):
    write(tmp_path / "bare.xyz", [as_atoms(water(100), ()), as_atoms(water(101), ())])
    with pytest.raises(ValueError, match=r"bare\.xyz"):
        evaluate(run.folder, str(tmp_path / "bare.xyz"))
    masked = {"read": {"missing_labels": "mask"}}
    with pytest.raises(ValueError, match=r"bare\.xyz has no labels to compare with, expected energy, forces"):
        evaluate(run.folder, str(tmp_path / "bare.xyz"), settings=masked)
    write(tmp_path / "some.xyz", [as_atoms(water(100)), as_atoms(water(101), ("energy",))])
    found = evaluate(run.folder, str(tmp_path / "some.xyz"), settings=masked).metrics["some"]
    assert found["forces_labels"]["value"] == 3
    assert not any(p.name.startswith("eval-bare") for p in run.folder.iterdir())


def test_elements_that_were_not_trained_on_are_named(run, gaps, tmp_path):
    strange = as_atoms(water(100))
    strange.numbers[0] = 16
    write(tmp_path / "strange.xyz", [as_atoms(water(101)), strange])
    for model in (run, gaps):
        with pytest.raises(
            ValueError, match=r"structure 1 of strange has atomic numbers \[16\], which the training set \(\[1, 8\]\)"
        ):
            predict_file(model.folder, str(tmp_path / "strange.xyz"), tmp_path / "out.xyz")
    with pytest.raises(ValueError, match=r"structure 1 of strange has atomic numbers \[16\]"):
        evaluate(run.folder, str(tmp_path / "strange.xyz"))
    assert not (tmp_path / "out.xyz").exists()


def test_settings_may_only_tell_how_to_read(run, frames):
    with pytest.raises(ValueError, match=r"expected settings that tell how to read .*, got batch_size"):
        evaluate(run.folder, frames, settings={"batch_size": 3})
    with pytest.raises(ValueError, match="targets: the model predicts energy, forces, expected none"):
        evaluate(run.folder, frames, settings={"read": {"targets": ["gap"]}})
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        evaluate(run.folder, "none.xyz")


def test_predictions_are_a_file_that_reads_back(run, frames, tmp_path):
    notes, count = predict_file(run.folder, frames, tmp_path / "out.xyz")
    assert count == 6
    assert notes == ()
    model = load_model(run.folder / "model.pt")
    for atoms, seed in zip(read(tmp_path / "out.xyz", ":"), range(100, 106)):
        structure = water(seed)
        out = model(structure.z, torch.from_numpy(atoms.positions).float())
        assert atoms.get_potential_energy() == pytest.approx(float(out["energy"].detach()), abs=1e-4)
        np.testing.assert_allclose(atoms.get_forces(), out["forces"].detach().numpy(), atol=1e-4)
        assert atoms.info["true_energy"] == pytest.approx(float(structure.energy))
        np.testing.assert_allclose(atoms.arrays["true_forces"], structure.forces.numpy(), atol=1e-6)
        assert not any(name.endswith("_std") for name in (*atoms.info, *atoms.arrays))


def test_structures_without_labels_are_predicted(run, tmp_path):
    write(tmp_path / "bare.xyz", [as_atoms(water(i), ()) for i in range(3)])
    predict_file(run.folder, str(tmp_path / "bare.xyz"), tmp_path / "out.npz")
    found = np.load(tmp_path / "out.npz")
    assert found["energy"].shape == (3,)
    assert found["forces"].shape == (9, 3)
    assert not any(name.startswith("true_") for name in found)
    assert np.isfinite(found["forces"]).all()


def test_a_property_needs_no_label_either(gaps, tmp_path):
    for name, labels in (("bare", ()), ("others", ("energy", "forces"))):
        write(tmp_path / f"{name}.xyz", [as_atoms(water(i), labels) for i in range(3)])
        settings = {"read": {"units": {"gap": "Ha"}}}
        predict_file(gaps.folder, str(tmp_path / f"{name}.xyz"), tmp_path / f"{name}.csv", settings=settings)
        header, *rows = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert (header, len(rows)) == ("index,formula,gap [eV]", 3)
        with pytest.raises(ValueError, match="expected gap"):
            evaluate(gaps.folder, str(tmp_path / f"{name}.xyz"))


def test_an_output_that_cannot_be_is_refused_before_anything_is_read(run, tmp_path):
    (tmp_path / "there.xyz").write_text("mine")
    with pytest.raises(ValueError, match=r"there\.xyz exists already"):
        predict_file(run.folder, "none.xyz", tmp_path / "there.xyz")
    with pytest.raises(ValueError, match="expected a file ending in"):
        predict_file(run.folder, "none.xyz", tmp_path / "out.txt")
    assert (tmp_path / "there.xyz").read_text() == "mine"


def test_a_committee_tells_its_spread(frames, tmp_path):
    committee = train_committee(CONFIG, 2, structures=sets(), out=tmp_path / "run", console=Console(quiet=True))
    predict_file(committee.folder, frames, tmp_path / "out.xyz")
    for atoms in read(tmp_path / "out.xyz", ":"):
        assert atoms.info["energy_std"] > 0
        assert atoms.arrays["forces_std"].shape == (3, 3)
    found = evaluate(committee.folder, frames)
    spread, expected = (metrics["test"]["energy_spread"]["value"] for metrics in (found.metrics, committee.metrics))
    assert spread == pytest.approx(expected, rel=1e-4)


def test_the_stress_of_crystals_goes_round(tmp_path):
    crystals = Structures(
        [copper(i) for i in range(6)], [copper(6)], [copper(7), copper(8)], "copper", targets=(*sets().targets, STRESS)
    )
    result = quiet_train(crystals, CONFIG.replace(epochs=1), out=tmp_path / "run")
    write(tmp_path / "test.xyz", [as_atoms(copper(i), ("energy", "forces", "stress")) for i in (7, 8)])
    found = evaluate(result.folder, str(tmp_path / "test.xyz"))
    error, expected = (metrics["test"]["stress_mae"]["value"] for metrics in (found.metrics, result.metrics))
    assert error == pytest.approx(expected, rel=1e-3)
    predict_file(result.folder, str(tmp_path / "test.xyz"), tmp_path / "out.xyz")
    model = load_model(result.folder / "model.pt")
    for atoms, seed in zip(read(tmp_path / "out.xyz", ":"), (7, 8)):
        expected = model(RadiusGraph(5.0)(copper(seed)))["stress"][0].detach().numpy()
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, atol=1e-5)


def test_a_property_goes_round_as_a_table(gaps, tmp_path):
    write(tmp_path / "test.xyz", [as_atoms(charged_water(i), ("gap",)) for i in range(3)])
    with pytest.raises(ValueError, match="gap is in an unknown unit, that of the training set in eV"):
        predict_file(gaps.folder, str(tmp_path / "test.xyz"), tmp_path / "out.csv")
    settings = {"read": {"units": {"gap": "eV"}}}
    predict_file(gaps.folder, str(tmp_path / "test.xyz"), tmp_path / "out.csv", settings=settings)
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "index,formula,gap [eV],true_gap [eV]"
    for seed, row in enumerate(rows):
        structure = charged_water(seed)
        expected = float(gaps.model(structure.z, structure.pos)["gap"].detach())
        assert float(row.split(",")[2]) == pytest.approx(expected, abs=1e-3)
        assert float(row.split(",")[3]) == pytest.approx(float(structure.gap), abs=1e-5)
