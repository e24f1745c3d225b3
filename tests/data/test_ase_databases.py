import os
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import labelled_atoms, same

pytest.importorskip("ase")

TARGETS = ("energy", "forces", "gap", "dipole", "charges")
DISK = ReadOptions(targets=TARGETS, units={"gap": "Ha", "dipole": "D"}, in_memory=False)
HELD = ReadOptions(targets=TARGETS, units={"gap": "Ha", "dipole": "D"}, in_memory=True)


def fill(path, indices):
    """Rows with labels from the calculator, as key-value pairs and as data."""
    from ase.db import connect

    database = connect(path)
    for index in indices:
        atoms = labelled_atoms(index)
        data = {"dipole": np.arange(3.0) + index, "charges": np.arange(len(atoms)) / 8}
        database.write(atoms, gap=index / 16, data=data)
    return path


@pytest.fixture(params=["a.db", "a.aselmdb", "folder"])
def database(request, tmp_path):
    if request.param == "a.db":
        return fill(tmp_path / "a.db", range(6))
    pytest.importorskip("ase_db_backends")
    if request.param == "a.aselmdb":
        return fill(tmp_path / "a.aselmdb", range(6))
    fill(tmp_path / "data0000.aselmdb", range(2))
    fill(tmp_path / "data0001.aselmdb", range(2, 6))
    np.savez(tmp_path / "metadata.npz", natoms=np.ones(6))
    return tmp_path


def test_rows_hold_the_numbers_that_were_written(database):
    found = open_structures(database, ReadOptions(TARGETS, units={"gap": "Ha"}, dtype=torch.float64))
    assert [(t.kind, t.unit) for t in found.targets] == [
        ("graph_scalar", "eV"),
        ("node_vector", "eV/Å"),
        ("graph_scalar", "eV"),
        ("graph_vector", ""),
        ("node_scalar", ""),
    ]
    assert len(found) == 6
    for index, data in enumerate(found.structures):
        atoms = labelled_atoms(index)
        assert data.z.tolist() == atoms.numbers.tolist()
        np.testing.assert_array_equal(data.pos.numpy(), atoms.positions)
        np.testing.assert_array_equal(data.cell[0].numpy(), atoms.cell)
        assert data.pbc[0].tolist() == atoms.pbc.tolist()
        assert data.energy.item() == atoms.calc.results["energy"]
        np.testing.assert_array_equal(data.forces.numpy(), atoms.calc.results["forces"])
        assert data.gap.item() == index / 16 * 27.211386245981
        assert data.dipole.tolist() == [[index, index + 1, index + 2]]
        assert data.charges.tolist() == [i / 8 for i in range(len(atoms))]


def test_streamed_rows_equal_those_in_memory_and_no_structure_is_held(database):
    held, streamed = open_structures(database, HELD), open_structures(database, DISK)
    assert (held.streamed, streamed.streamed) == (False, True)
    assert held.targets == streamed.targets
    assert held.notes == streamed.notes
    assert all(same(a, b) for a, b in zip(held.structures, streamed.structures, strict=True))
    assert b"torch_geometric" not in pickle.dumps(streamed.structures)
    assert len(pickle.dumps(streamed.structures)) < 2500


def test_a_pickle_opens_the_database_anew(database):
    streamed = open_structures(database, DISK).structures
    first = streamed[0]
    assert same(pickle.loads(pickle.dumps(streamed))[0], first)


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_two_worker_processes_read_the_same_as_one(database, start):
    streamed = open_structures(database, DISK).structures
    _ = streamed[1]  # open in this process, too
    loader = DataLoader(streamed, batch_size=2, num_workers=2, multiprocessing_context=start)
    energies = torch.cat([batch.energy for batch in loader])
    assert energies.tolist() == [data.energy.item() for data in streamed]


def test_rows_that_were_deleted_are_not_there(database):
    from ase.db import connect

    if database.is_dir():
        pytest.skip("as for a single file")
    writer = connect(database)
    writer.delete([2, 5])
    del writer
    found = open_structures(database, DISK)
    assert [data.dipole[0, 0].item() for data in found.structures] == [0, 2, 3, 5]


def test_json_databases_are_held_in_memory(tmp_path):
    path = fill(tmp_path / "a.json", range(3))
    found = open_structures(path, HELD)
    assert same(found.structures[1], open_structures(fill(tmp_path / "a.db", range(3)), HELD).structures[1])
    with pytest.raises(ValueError, match=r"in_memory: expected True or None .*ase db old\.json -i new\.db"):
        open_structures(path, DISK)


def test_stress_of_the_crystals_is_read_and_molecules_without_are_named(tmp_path):
    path = fill(tmp_path / "a.db", range(2))
    with pytest.raises(ValueError, match=r"frame 1 \(id 2\): expected stress, .*missing_labels=mask"):
        open_structures(path)
    masked = open_structures(path, ReadOptions(missing_labels="mask", dtype=torch.float64))
    xx, yy, zz, yz, xz, xy = labelled_atoms(0).calc.results["stress"]
    assert masked.structures[0].stress[0].tolist() == [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    assert masked.structures[1].stress.isnan().all()


@pytest.mark.parametrize("name", ["a.db", "a.aselmdb", "a.json"])
def test_files_that_are_no_database_are_refused_and_left_as_they_are(tmp_path, name):
    pytest.importorskip("ase_db_backends")
    path = tmp_path / name
    path.write_bytes(b"{}" * 5000)
    with pytest.raises(ValueError, match=rf"{name}: expected an ASE"):
        open_structures(path)
    assert path.read_bytes() == b"{}" * 5000
    assert os.listdir(tmp_path) == [name]


def test_a_database_of_something_else_is_refused_and_gets_no_tables(tmp_path):
    import sqlite3

    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"other\.db: expected an ASE database \(SQLite\), .*no such table"):
        open_structures(path)
    assert path.read_bytes() == before


def test_reading_lmdb_names_the_extra_that_is_missing(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.aselmdb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "ase_db_backends.aselmdb", None)
    with pytest.raises(ImportError, match=r'pip install "pyg_equiformer\[lmdb\]"'):
        open_structures(tmp_path / "a.aselmdb")
