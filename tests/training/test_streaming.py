import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from torch_geometric.data import OnDiskDataset

from pyg_equiformer.data import ReadOptions, open_structures, wrap_dataset
from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training import Structures

from .conftest import TINY, water
from .runs import quiet_train, same, state
from .streamed_run import MadeOnAccess, stream

ROOT = Path(__file__).parents[2]
DROPOUT = {**TINY, "attn_dropout": 0.1}


@pytest.fixture
def database(tmp_path):
    with connect(tmp_path / "water.db") as file:
        for seed in range(20):
            structure = water(seed)
            atoms = Atoms(structure.z.numpy(), structure.pos.double().numpy())
            labels = {"energy": float(structure.energy), "forces": structure.forces.double().numpy()}
            atoms.calc = SinglePointCalculator(atoms, **labels)
            file.write(atoms)
    return tmp_path / "water.db"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_database_that_is_streamed_gives_the_weights_of_one_in_memory(database, tiny_config, workers):
    runs = []
    for in_memory in (True, False):
        opened = open_structures(database, ReadOptions(in_memory=in_memory))
        assert opened.streamed != in_memory
        sets = Structures(opened.structures, name="water", streamed=opened.streamed)
        config = tiny_config(model=DROPOUT, max_edges=24, workers=0 if in_memory else workers)
        runs.append(quiet_train(sets, config))
    held, streamed = runs
    assert same(state(held.folder), state(streamed.folder))
    for split in ("train", "valid", "test"):
        assert held.metrics[split] == streamed.metrics[split]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_on_disk_data_set_gives_the_weights_of_a_list(structures, tiny_config, tmp_path, workers):
    on_disk = OnDiskDataset(str(tmp_path / "pyg"))
    on_disk.extend(structures.train)
    wrapped = wrap_dataset(on_disk, (ENERGY, FORCES), "water")
    config = tiny_config(model=DROPOUT)
    held = quiet_train(Structures(structures.train), config)
    streamed = quiet_train(Structures(wrapped.structures, streamed=True), config.replace(workers=workers))
    on_disk.close()
    assert same(state(held.folder), state(streamed.folder))
    assert held.metrics["test"] == streamed.metrics["test"]


def test_a_streamed_file_of_the_settings_gives_the_weights_of_one_in_memory(database, tiny_config):
    runs = [quiet_train(None, tiny_config(data=str(database), read={"in_memory": m})) for m in (True, False)]
    assert same(*(state(run.folder) for run in runs))


def test_elements_of_a_streamed_test_set_are_found_when_it_is_read(tiny_config):
    train, test = [water(i) for i in range(8)], [water(9)]
    test[0].z[0] = 16
    streamed = Structures(train, valid=[water(8)], test=test, streamed=True)
    with pytest.raises(ValueError, match=r"structure 0 of the test set has atomic numbers \[16\]"):
        quiet_train(streamed, tiny_config(epochs=1))


def test_a_run_holds_no_more_structures_than_a_batch_or_two(tmp_path):
    made = MadeOnAccess(500)
    stream(made, tmp_path / "run", batch_size=50)
    assert made.made > 2 * 500  # one pass for the statistics, one to train
    assert made.most <= 2 * 50
    gc.collect()
    assert made.alive <= 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_structures(tmp_path):
    peaks = []
    for count in (2_000, 20_000):
        command = [sys.executable, "-m", "tests.training.streamed_run", str(count), str(tmp_path / str(count))]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        peaks.append(float(done.stdout.split()[-1]))
    # Held in memory with their neighbours, 20,000 structures would take about 170 MiB.
    assert peaks[1] - peaks[0] < 40
