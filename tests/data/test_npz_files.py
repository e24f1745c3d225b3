import pickle

import numpy as np
import pytest
import torch

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import same

pytest.importorskip("ase")

KCAL_PER_MOL = 4.184e3 / 6.02214076e23 / 1.602176634e-19  # in eV


def arrays(frames=3, atoms=2):
    rng = np.random.default_rng(0)
    return {
        "R": rng.normal(size=(frames, atoms, 3)),
        "z": np.array([6, 8], dtype=np.uint8)[:atoms],
        "E": -406757.591 + rng.normal(size=(frames, 1)),
        "F": rng.normal(size=(frames, atoms, 3)),
    }


def save(path, content):
    np.savez(path, **content)
    return path


def test_sgdml_files_are_in_kcal_per_mol_and_keep_all_digits_of_the_energy(tmp_path):
    content = arrays()
    found = open_structures(save(tmp_path / "co.npz", content), ReadOptions(dtype=torch.float64))
    assert [t.name for t in found.targets] == ["energy", "forces"]
    assert [d.energy.item() for d in found.structures] == [e * KCAL_PER_MOL for e in content["E"][:, 0]]
    np.testing.assert_array_equal(found.structures[1].forces.numpy(), content["F"][1] * KCAL_PER_MOL)
    np.testing.assert_array_equal(found.structures[1].pos.numpy(), content["R"][1])
    assert found.structures[1].z.tolist() == [6, 8]
    assert found.name == "co"


@pytest.mark.parametrize("text", [np.array("eV"), np.array(b"eV")])
def test_the_units_that_a_file_states_hold(tmp_path, text):
    content = {**arrays(), "e_unit": text, "r_unit": np.array("Bohr")}
    found = open_structures(save(tmp_path / "co.npz", content), ReadOptions(dtype=torch.float64))
    assert found.structures[0].energy.item() == content["E"][0, 0]
    assert found.structures[0].pos[0, 0].item() == content["R"][0, 0, 0] * 0.529177210544
    assert found.structures[0].forces[0, 0].item() == pytest.approx(content["F"][0, 0, 0] / 0.529177210544, rel=1e-14)


def test_the_user_gives_units_where_the_file_states_none(tmp_path):
    path = save(tmp_path / "co.npz", arrays())
    found = open_structures(path, ReadOptions(units={"energy": "eV"}, dtype=torch.float64))
    assert found.structures[0].energy.item() == arrays()["E"][0, 0]


def test_revised_md17_files_are_read_and_their_older_labels_by_name(tmp_path):
    content = arrays()
    renamed = {
        "nuclear_charges": content["z"],
        "coords": content["R"],
        "energies": content["E"][:, 0],
        "forces": content["F"],
        "old_energies": content["E"][:, 0] + 1,
        "old_indices": np.arange(3),
    }
    path = save(tmp_path / "rmd17_co.npz", renamed)
    found = open_structures(path)
    assert found.structures[2].energy.item() == content["E"][2, 0] * KCAL_PER_MOL
    assert found.targets[1].unit == "eV/Å"
    old = open_structures(path, ReadOptions(names={"energy": "old_energies"}))
    assert old.structures[2].energy.item() == (content["E"][2, 0] + 1) * KCAL_PER_MOL


def test_every_frame_may_have_atoms_of_its_own_filled_up_with_zeros(tmp_path):
    content = {**arrays(), "z": np.array([[6, 8], [8, 6], [1, 0]])}
    found = open_structures(save(tmp_path / "co.npz", content))
    assert [d.z.tolist() for d in found.structures] == [[6, 8], [8, 6], [1]]
    assert [len(d.forces) for d in found.structures] == [2, 2, 1]


def test_other_arrays_are_labels_by_their_shape(tmp_path):
    content = {**arrays(), "dipole": np.ones((3, 3)), "q": np.ones((3, 2))}
    found = open_structures(save(tmp_path / "co.npz", content), ReadOptions(targets=("dipole", "q")))
    assert [t.kind for t in found.targets] == ["graph_vector", "node_scalar"]


def test_three_atoms_and_three_numbers_are_ambiguous(tmp_path):
    content = {
        "R": np.random.default_rng(0).normal(size=(2, 3, 3)),
        "z": np.array([8, 1, 1]),
        "E": np.ones(2),
        "D": np.ones((2, 3)),
    }
    with pytest.raises(
        ValueError, match=r"D may belong to the structure or to its atoms \(graph_vector or node_scalar"
    ):
        open_structures(save(tmp_path / "water.npz", content), ReadOptions(targets=("D",)))


def test_the_lattice_of_sgdml_has_the_cell_vectors_as_columns(tmp_path):
    content = {**arrays(), "lattice": np.array([[9.0, 1, 2], [0, 8, 3], [0, 0, 7]])}
    (data, *_) = open_structures(save(tmp_path / "co.npz", content)).structures
    assert data.cell[0].tolist() == content["lattice"].T.tolist()
    assert data.pbc.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": np.zeros((3, 3))}, r"expected R \[F, n, 3\] and z .*got \(3, 3\)"),
        ({"z": np.array([6, 8, 1])}, r"expected R \[F, n, 3\] and z"),
        ({"E": np.zeros(2)}, r"expected 3 frames in E, got shape \(2,\)"),
        ({"F": np.full((3, 2, 3), np.nan)}, "frame 0: F are not all finite"),
        ({"z": np.array([6, 119])}, "frame 0: expected chemical elements"),
        ({"F": np.zeros((3, 2, 2))}, "frame 0: .*F"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        open_structures(save(tmp_path / "co.npz", {**arrays(), **change}))


def test_other_archives_and_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected R and z \(sGDML\) or coords .*found \['X'\]"):
        open_structures(save(tmp_path / "x.npz", {"X": np.ones(3)}))
    (tmp_path / "y.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"y\.npz: expected a NumPy archive"):
        open_structures(tmp_path / "y.npz")
    whole = (save(tmp_path / "z.npz", arrays())).read_bytes()
    (tmp_path / "z.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"z\.npz: expected a NumPy archive"):
        open_structures(tmp_path / "z.npz")


def test_structures_made_on_demand_equal_those_in_memory_and_a_pickle_holds_no_arrays(tmp_path):
    path = save(tmp_path / "co.npz", arrays(frames=200))
    held, lazy = (open_structures(path, ReadOptions(in_memory=m)).structures for m in (True, False))
    text = pickle.dumps(lazy)
    assert len(text) < 200 * 8 + 2000  # the numbers of the frames and little else
    assert all(same(a, b) for a, b in zip(held, pickle.loads(text), strict=True))
