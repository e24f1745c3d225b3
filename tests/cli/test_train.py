import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from pyg_equiformer import load_model, training
from pyg_equiformer.data import SAMPLES
from pyg_equiformer.training import TrainConfig

from .command import TINY, call, fine, frames_of, listing, names, one_red_line, with_label, write_waters

FILES = {"model.pt", "metrics.json", "report.md", "parity.png", "learning_curve.png", "config.yaml", "metrics.csv"}


def test_a_file_becomes_a_run_that_explains_itself(force_field):
    assert names(force_field) == FILES
    metrics = json.loads((force_field / "metrics.json").read_text())
    assert metrics["test"]["forces_mae"]["unit"] == "meV/Å"
    assert metrics["run"]["training_structures"] == 9
    report = (force_field / "report.md").read_text()
    assert "elements | 1 to 118" in report
    command = re.search(r"^pyg-equiformer train --config (\S+)$", report, flags=re.MULTILINE)
    assert Path(command[1]) == force_field / "config.yaml"


def test_the_command_of_the_report_trains_the_same_model_again(force_field):
    import torch

    fine(call("train", "--config", str(force_field / "config.yaml"), "--out", "again"))
    first, again = (load_model(folder / "model.pt").state_dict() for folder in (force_field, Path("again")))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_dry_run_prints_the_plan_and_writes_nothing():
    write_waters("water.xyz")
    before = listing()
    text = fine(call("train", "water.xyz", "weight.forces=50", "--max-time", "2m", "--ensemble", "3", "--dry-run"))
    assert listing() == before
    for word in (
        "water: 9 structures to train, 1 to validate, 2 to test; network small",
        "→ runs/water/",
        "ends after at most 120 s; 3 models",
        "forces: norm loss, weight 50",
        "reference energies of the elements in eV",
    ):
        assert word in text
    # The settings can be copied into a file.
    settings = yaml.safe_load(text[text.index("settings:") :])["settings"]
    assert TrainConfig.from_dict(settings) == TrainConfig(
        data="water.xyz", weight={"forces": 50}, epochs=None, max_time=120.0
    )


def test_without_arguments_it_is_the_bundled_sample(monkeypatch):
    calls = []
    monkeypatch.setattr(training, "train", lambda *arguments, **options: calls.append((arguments, options)))
    fine(call("train", "--seed", "3"))
    fine(call("train", "batch_size=7", "--max-time", "2m"))
    (first, options), (second, _) = calls
    assert first == (None, TrainConfig(seed=3))
    assert options["out"] is None
    assert options["name"] is None
    assert second == (None, TrainConfig(batch_size=7, epochs=None, max_time=120.0))


def test_the_clock_is_given_as_option_or_setting_and_epochs_may_end_the_run_earlier():
    write_waters("water.xyz")
    for words, message in (
        (["--max-time", "3m"], "ends after at most 180 s\n"),
        (["max_time=3m"], "ends after at most 180 s\n"),
        (["--max-time", "3m", "--epochs", "2"], "ends after 2 passes of 2 batches or at most 180 s\n"),
        (["--epochs", "2"], "ends after 2 passes of 2 batches\n"),
    ):
        assert message in fine(call("train", "water.xyz", *words, "--dry-run"))


def test_a_recipe_its_copy_and_what_is_typed_come_in_this_order():
    write_waters("water.xyz")
    Path("mine.yaml").write_text("batch_size: 3\nlearning_rate: 1.0e-4\nmodel: {cutoff: 4.0}\n")
    words = ["water.xyz", "--preset", "rmd17", "--config", "mine.yaml", "learning_rate=1e-5", "valid_fraction=2"]
    text = fine(call("train", *words, "--dry-run"))
    settings = yaml.safe_load(text[text.index("settings:") :])["settings"]
    assert (settings["network"], settings["batch_size"], settings["learning_rate"]) == ("md17", 3, 1e-5)
    assert (settings["epochs"], settings["valid_fraction"], settings["model"]["cutoff"]) == (1500, 2, 4.0)


def test_folders_are_numbered_and_colons_are_no_part_of_their_names():
    write_waters("water.xyz")
    Path("runs/water").mkdir(parents=True)
    assert "→ runs/water-2/" in fine(call("train", "water.xyz", "--dry-run"))
    assert "→ runs/first/" in fine(call("train", "water.xyz", "--name", "first", "--dry-run"))


@pytest.mark.parametrize("kind", ["xyz.xz", "db", "sgdml", "rmd17", "pdb"])
def test_every_format_is_read_with_its_units(kind):
    path, words = _write(kind)
    text = fine(call("train", path, *words, "--dry-run"))
    assert re.search(r": \d+ structures to train", text)
    assert ("tm: l1 loss, weight 1, in units of 15 K" if kind == "pdb" else "forces: norm loss") in text
    if kind in ("sgdml", "rmd17"):
        assert "energy: l1 loss, weight 1, in units of 0.04336 eV\n" in text  # forces of 1 kcal/mol/Å


def _write(kind):
    if kind == "xyz.xz":
        return str(SAMPLES / "ethanol_test.xyz.xz"), []
    if kind == "db":
        from ase.db import connect

        with connect("water.db") as database:
            for atoms in frames_of(write_waters("water.xyz")):
                database.write(atoms)
        return "water.db", []
    if kind == "pdb":
        pytest.importorskip("biotite")
        Path("folder").mkdir()
        line = "ATOM  {:5d}  {:<2s}  GLY A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           {:1s}\n"
        for index in range(5):
            atoms = [("N", 0, 0, 0), ("CA", 1.4, 0.1 * index, 0), ("C", 2.0, 1.4, 0)]
            text = "".join(line.format(i, a, x, y, z, a[0]) for i, (a, x, y, z) in enumerate(atoms, start=1))
            Path(f"folder/p{index}.pdb").write_text(text + "END\n")
        rows = "".join(f"p{index}.pdb,{300 + 10 * (index % 2) * 3}\n" for index in range(4))
        Path("folder/labels.csv").write_text("file,tm [K]\n" + rows)
        Path("folder/p4.pdb").unlink()
        return "folder", ["targets=tm", "valid_fraction=1", "test_fraction=1", "seed=1"]
    rng = np.random.default_rng(0)
    pos = np.array([[0, 0, 0.1], [0, 0.76, -0.48], [0, -0.76, -0.48]]) + 0.05 * rng.normal(size=(12, 3, 3))
    forces, energies, z = np.ones((12, 3, 3)), -48000 + rng.random(12), np.array([8, 1, 1])
    if kind == "sgdml":
        np.savez("water.npz", R=pos, z=z, E=energies[:, None], F=forces)
    else:
        np.savez("water.npz", coords=pos, nuclear_charges=z, energies=energies, forces=forces)
    return "water.npz", []


def test_a_vector_is_trained_and_predicted_in_its_unit():
    write_waters("dipoles.xyz", change=with_label(lambda i: f'dipole="0 0 {1.8 + 0.01 * i}"'))
    fine(call("train", "dipoles.xyz", "targets=dipole", "units.dipole=D", *TINY, "--epochs", "1", "--out", "run"))
    assert json.loads(Path("run/metrics.json").read_text())["test"]["dipole_mae"]["unit"] == "D"
    fine(call("predict", "run", "dipoles.xyz", "-o", "dipoles.csv"))
    assert (
        Path("dipoles.csv").read_text().startswith("index,formula,dipole_x [D],dipole_y [D],dipole_z [D],true_dipole_x")
    )
    # The label of another file must be in the same unit.
    write_waters("other.xyz", change=with_label(lambda i: f'dipole="0 0 {0.4 + 0.01 * i}" dipole_unit="e Å"'))
    error = one_red_line(call("eval", "run", "other.xyz", "units.dipole=e Å"))
    assert "dipole is in e Å, that of the training set in D" in error


def test_periodic_structures_are_trained_on_energy_forces_and_stress():
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.io import write

    crystals = []
    for seed in range(6):
        copper = bulk("Cu", cubic=True, a=3.6 + 0.02 * seed)
        copper.rattle(0.05, seed=seed)
        copper.calc = EMT()
        copper.get_stress()
        crystals.append(copper)
    write("copper.xyz", crystals, format="extxyz")
    text = fine(call("train", "copper.xyz", *TINY, "--epochs", "1", "precision=float64", "--out", "run"))
    assert "stress" in text
    metrics = json.loads(Path("run/metrics.json").read_text())["test"]
    assert metrics["stress_mae"]["unit"] == "meV/Å³"
    fine(call("predict", "run", "copper.xyz", "-o", "out.xyz"))
    predicted = frames_of("out.xyz")[0]
    assert predicted.pbc.all()
    assert predicted.get_stress().shape == (6,)


def test_a_built_in_data_set_is_trained_with_its_published_results_beside():
    from tests.data.raw_files import trajectory, write_rmd17

    pos = np.array([[0, 0, 0.1], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    write_rmd17(Path("sets"), "ethanol", trajectory([8, 1, 1], pos, 20), {1: (range(12), range(12, 20))})
    words = ["rmd17:ethanol", "--preset", "small", "data_root=sets", *TINY]
    text = fine(call("train", *words, "--epochs", "1"))
    assert "official split 1: 11 / 1 / 8" in text
    assert "| MACE | 0.4 meV | 2.1 meV/Å |" in Path("runs/rmd17-ethanol/report.md").read_text()
    assert "network md17" in fine(call("train", "rmd17:ethanol", "data_root=sets", "--dry-run"))


@pytest.mark.parametrize(
    "words",
    [
        ["precision=bf16"],
        ["precision=float64", "denoising=dens"],
        ["accumulate=2", "max_edges=20", "select=best", "workers=1"],
        ["ema_decay=0", "gradient_clip=null", "weight.energy=0", "reference=mean", "scale=spread"],
    ],
    ids=lambda words: words[0],
)
def test_settings_that_change_the_loop_end_well(words):
    fine(call("train", write_waters("water.xyz"), *TINY, *words, "--epochs", "1", "--out", "run"))
    assert names("run") == FILES


def test_test_sets_are_reported_by_name_and_structures_in_both_are_counted():
    write_waters("water.xyz")
    write_waters("train.xyz", 4, start=10)
    write_waters("hot.xyz", 3, start=30)
    words = ["water.xyz", "--test", "train.xyz", "--test", "hot.xyz", *TINY]
    text = fine(call("train", *words, "--epochs", "1", "--out", "run"))
    assert "train.xyz: 2 of 4 structures are also in the training data" in text
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert [name for name in metrics if name != "run"] == ["test-train", "hot", "valid", "train"]
    assert metrics["train"]["structures"]["value"] == 11
    assert "2 of 4 structures are also in the training data" in Path("run/report.md").read_text()


def test_a_committee_has_its_members_and_a_model_of_its_own(committee):
    assert names(committee) == (FILES | {"members", "member-0", "member-1"}) - {"learning_curve.png", "metrics.csv"}
    assert names(committee / "member-1") == FILES
    text = (committee / "report.md").read_text()
    assert "--ensemble 2" in text
    assert "committee std" in text
