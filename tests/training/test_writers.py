import csv
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase.db import connect
from torch_geometric.data import Data

from pyg_equiformer.data import read_structures
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS, Target
from pyg_equiformer.training.writers import write_predictions

from .predicted import CHARGES, DIPOLE, GAP, made_up

MOLECULES = [[8, 1, 1], [6, 1, 1, 1, 1], [2]]
POLARIZABILITY = Target("polarizability", "graph_tensor", "a0^3")


def structures():
    rng = np.random.default_rng(1)
    return [Data(z=torch.tensor(z), pos=torch.from_numpy(rng.normal(size=(len(z), 3)).round(6))) for z in MOLECULES]


def crystals():
    cell = torch.tensor([[[4.0, 0.0, 0.1], [0.0, 5.0, 0.2], [0.0, 0.0, 6.0]]], dtype=torch.float64)
    made = structures()
    for structure in made:
        structure.cell, structure.pbc = cell.clone(), torch.tensor([[True, True, False]])
    return made


def symmetric(predictions):
    for values in (predictions.predicted, predictions.true, predictions.spread):
        values["stress"][:] = values["stress"] + values["stress"].transpose(0, 2, 1)
    return predictions


def files(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.xyz.xz", "a.extxyz.gz"])
def test_ase_reads_back_what_was_written_as_extended_xyz(tmp_path, name):
    targets = [ENERGY, FORCES, STRESS, DIPOLE, CHARGES, GAP, POLARIZABILITY]
    predictions = symmetric(made_up(targets, MOLECULES, committee=True))
    write_predictions(tmp_path / name, crystals(), predictions)
    frames = ase.io.read(tmp_path / name, ":", format="extxyz")
    assert [f.numbers.tolist() for f in frames] == MOLECULES
    stop = 0
    for i, (frame, structure) in enumerate(zip(frames, crystals())):
        rows = slice(stop, stop := stop + len(frame))
        np.testing.assert_allclose(frame.positions, structure.pos, atol=1e-8)
        np.testing.assert_array_equal(frame.cell, structure.cell[0])
        assert frame.pbc.tolist() == [True, True, False]
        assert frame.calc.results["energy"] == predictions.predicted["energy"][i]
        np.testing.assert_allclose(frame.calc.results["forces"], predictions.predicted["forces"][rows], atol=1e-8)
        np.testing.assert_allclose(frame.get_stress(voigt=False), predictions.predicted["stress"][i], rtol=1e-15)
        np.testing.assert_array_equal(frame.calc.results["dipole"], predictions.predicted["dipole"][i])
        np.testing.assert_allclose(frame.calc.results["charges"], predictions.predicted["charges"][rows], atol=1e-8)
        assert frame.info["gap"] == predictions.predicted["gap"][i]
        assert frame.info["energy_std"] == predictions.spread["energy"][i]
        assert frame.info["true_energy"] == predictions.true["energy"][i]
        np.testing.assert_allclose(frame.arrays["forces_std"], predictions.spread["forces"][rows], atol=1e-8)
        np.testing.assert_allclose(frame.arrays["true_forces"], predictions.true["forces"][rows], atol=1e-8)
        np.testing.assert_array_equal(frame.info["polarizability"], predictions.predicted["polarizability"][i])
    assert files(tmp_path) == [name]


def test_our_reader_takes_the_predictions_as_labels(tmp_path):
    predictions = made_up([ENERGY, FORCES], MOLECULES)
    write_predictions(tmp_path / "a.xyz", structures(), predictions)
    frames = read_structures(tmp_path / "a.xyz", dtype=torch.float64)
    assert [f.energy.item() for f in frames] == predictions.predicted["energy"].tolist()
    np.testing.assert_allclose(torch.cat([f.forces for f in frames]), predictions.predicted["forces"], atol=1e-8)


def test_missing_labels_and_the_stress_of_molecules_are_left_out(tmp_path):
    predictions = made_up([ENERGY, FORCES, STRESS], MOLECULES)
    predictions.true["energy"][1] = np.nan
    predictions.predicted["stress"][2] = np.nan
    write_predictions(tmp_path / "a.xyz", structures(), predictions)
    frames = ase.io.read(tmp_path / "a.xyz", ":")
    assert ["true_energy" in f.info for f in frames] == [True, False, True]
    assert ["stress" in f.calc.results for f in frames] == [True, True, False]
    write_predictions(tmp_path / "b.xyz", structures(), replace(predictions, true={}))
    assert not any(name.startswith("true") for f in ase.io.read(tmp_path / "b.xyz", ":") for name in f.info)


def test_csv_has_a_row_per_structure_and_units_in_its_header(tmp_path):
    predictions = made_up([GAP, DIPOLE], MOLECULES, committee=True)
    predictions.true["gap"][1] = np.nan
    write_predictions(tmp_path / "a.csv", structures(), predictions)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    names = [f"{part}dipole{std}_{axis} [D]" for part, std in (("", ""), ("", "_std"), ("true_", "")) for axis in "xyz"]
    assert header == ["index", "formula", "gap [eV]", "gap_std [eV]", "true_gap [eV]", *names]
    assert [row[:2] for row in rows] == [["0", "H2O"], ["1", "CH4"], ["2", "He"]]
    assert [float(row[2]) for row in rows] == predictions.predicted["gap"].tolist()
    assert [row[4] == "" for row in rows] == [False, True, False]
    assert [float(x) for x in rows[2][5:8]] == predictions.predicted["dipole"][2].tolist()


def test_npz_holds_every_array_and_its_unit(tmp_path):
    predictions = made_up([ENERGY, FORCES], MOLECULES, committee=True)
    write_predictions(tmp_path / "a.npz", crystals(), predictions)
    with np.load(tmp_path / "a.npz") as archive:
        for name in ("energy", "forces"):
            np.testing.assert_array_equal(archive[name], predictions.predicted[name])
            np.testing.assert_array_equal(archive[f"{name}_std"], predictions.spread[name])
            np.testing.assert_array_equal(archive[f"true_{name}"], predictions.true[name])
        assert archive["forces_unit"].item() == "eV/Å"
        assert archive["num_atoms"].tolist() == [3, 5, 1]
        assert archive["z"].tolist() == [z for molecule in MOLECULES for z in molecule]
        np.testing.assert_array_equal(archive["pos"], torch.cat([s.pos for s in crystals()]))
        assert archive["cell"].shape == (3, 3, 3)
        assert archive["pbc"].tolist() == [[True, True, False]] * 3
    write_predictions(tmp_path / "b.npz", structures(), predictions)
    assert "cell" not in np.load(tmp_path / "b.npz").files


def test_an_ase_database_holds_results_numbers_and_arrays(tmp_path):
    # "U" is an element's symbol, which ASE does not take as a key.
    predictions = made_up([ENERGY, FORCES, GAP, Target("U", "graph_scalar", "eV")], MOLECULES, committee=True)
    write_predictions(tmp_path / "a.db", crystals(), predictions)
    with connect(tmp_path / "a.db") as database:
        rows = list(database.select())
    assert [row.energy for row in rows] == predictions.predicted["energy"].tolist()
    assert [row.gap for row in rows] == predictions.predicted["gap"].tolist()
    assert [row.gap_std for row in rows] == predictions.spread["gap"].tolist()
    assert [row.data["U"] for row in rows] == predictions.predicted["U"].tolist()
    np.testing.assert_array_equal(rows[0].forces, predictions.predicted["forces"][:3])
    np.testing.assert_array_equal(rows[1].data["true_forces"], predictions.true["forces"][3:8])
    np.testing.assert_array_equal(rows[2].cell, crystals()[2].cell[0])
    assert files(tmp_path) == ["a.db"]


@pytest.mark.parametrize("name", ["a.xyz", "a.npz", "a.db"])
def test_files_are_replaced_on_request_only_and_never_half_written(tmp_path, name):
    predictions = made_up([ENERGY], MOLECULES)
    write_predictions(tmp_path / name, structures(), predictions)
    first = (tmp_path / name).read_bytes()
    with pytest.raises(ValueError, match="exists already"):
        write_predictions(tmp_path / name, structures(), predictions)
    others = structures()
    others[2].z = torch.tensor([18])
    with pytest.raises(ValueError, match="structure 2 is not the one that was predicted"):
        write_predictions(tmp_path / name, others, predictions, overwrite=True)
    assert (tmp_path / name).read_bytes() == first
    assert files(tmp_path) == [name]
    write_predictions(tmp_path / name, structures(), made_up([ENERGY], MOLECULES, seed=1), overwrite=True)
    assert (tmp_path / name).read_bytes() != first


@pytest.mark.parametrize("name", ["a.xyz", "a.xyz.gz", "a.npz", "a.db"])
def test_a_full_disk_is_told_and_leaves_the_former_file(tmp_path, name):
    resource = pytest.importorskip("resource")
    predictions = made_up([ENERGY, FORCES], MOLECULES * 30)
    (tmp_path / name).write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError, match=f"could not write .*{name}: "):
            write_predictions(tmp_path / name, structures() * 30, predictions, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / name).read_text() == "before"
    assert files(tmp_path) == [name]


class Unreadable(list):
    """Structures on a disk that is gone."""

    def __getitem__(self, index):
        raise FileNotFoundError(2, "No such file", "/nowhere/data.db")


def test_an_error_of_the_source_is_not_taken_for_one_of_the_output(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_predictions(tmp_path / "a.xyz", Unreadable(structures()), made_up([ENERGY], MOLECULES))
    assert error.value.filename == "/nowhere/data.db"
    assert files(tmp_path) == []


def test_errors_come_before_anything_is_written(tmp_path):
    predictions = made_up([GAP, FORCES], MOLECULES)
    with pytest.raises(ValueError, match=r"forces are per atom; write a \.xyz, \.npz or \.db"):
        write_predictions(tmp_path / "a.csv", structures(), predictions)
    with pytest.raises(ValueError, match=r"expected a file ending in \.xyz, "):
        write_predictions(tmp_path / "a.json", structures(), predictions)
    with pytest.raises(ValueError, match="expected the 3 structures that were predicted, got 2"):
        write_predictions(tmp_path / "a.xyz", structures()[:2], predictions)
    assert files(tmp_path) == []
