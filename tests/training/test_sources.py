import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from pyg_equiformer.data.structure_sets import Target
from pyg_equiformer.training import TrainConfig
from pyg_equiformer.training.sources import check_units, open_source, open_sources, read_options

from .conftest import water


def frames(seeds, **extra):
    """Water molecules for ASE, with labels under names that are no results of a calculator."""
    found = []
    for seed in seeds:
        structure = water(seed)
        atoms = Atoms(structure.z.numpy(), structure.pos.double().numpy())
        atoms.info["energy"] = float(structure.energy)
        atoms.arrays["forces"] = structure.forces.double().numpy()
        atoms.info["gap"] = 10.0 + seed
        for name, value in extra.items():
            atoms.info[name] = value
        found.append(atoms)
    return found


@pytest.fixture
def files(tmp_path):
    for name, seeds in (("train", range(8)), ("valid", range(10, 12)), ("hot", range(20, 23)), ("cold", range(30, 34))):
        write(tmp_path / f"{name}.xyz", frames(seeds))
    return tmp_path


def test_without_a_name_it_is_the_sample():
    found = open_sources(TrainConfig())
    assert (len(found.train), len(found.test), found.valid, found.name) == (1000, 250, None, "ethanol")


def test_files_for_each_set(files):
    config = TrainConfig(data=str(files / "train.xyz"), valid=str(files / "valid.xyz"), test=(str(files / "hot.xyz"),))
    found = open_sources(config)
    assert (len(found.train), len(found.valid), len(found.test["test"])) == (8, 2, 3)
    assert [t.name for t in found.targets] == ["energy", "forces"]
    assert found.name == "train"
    torch.testing.assert_close(found.train[0].forces, water(0).forces)


def test_several_test_sets_have_the_names_of_their_files(files):
    tests = (str(files / "hot.xyz"), str(files / "cold.xyz"))
    found = open_sources(TrainConfig(data=str(files / "train.xyz"), test=tests))
    assert {name: len(part) for name, part in found.test.items()} == {"hot": 3, "cold": 4}
    assert found.valid is None
    with pytest.raises(ValueError, match="expected files with different names, got 'hot' twice"):
        open_sources(TrainConfig(data=str(files / "train.xyz"), test=(tests[0], tests[0])))


def test_the_sample_can_be_tested_on_other_frames_of_its_own_labels(files):
    found = open_sources(TrainConfig(test=(str(files / "hot.xyz"),)))
    assert (len(found.train), len(found.test["test"])) == (1000, 3)


def test_other_sets_have_the_labels_of_the_training_set(files):
    config = TrainConfig(
        data=str(files / "train.xyz"), test=(str(files / "hot.xyz"),), read={"targets": ["gap"], "units": {"gap": "eV"}}
    )
    found = open_sources(config)
    assert [(t.name, t.kind, t.unit) for t in found.targets] == [("gap", "graph_scalar", "eV")]
    assert found.test["test"][0].gap.tolist() == [30.0]
    unlabelled = frames(range(2))
    for atoms in unlabelled:
        del atoms.info["gap"]
    write(files / "bare.xyz", unlabelled)
    with pytest.raises(ValueError, match=r"bare\.xyz.*gap"):
        open_sources(config.replace(test=(str(files / "bare.xyz"),)))


def test_what_was_left_out_is_told_with_the_name_of_the_file(files):
    write(files / "twice.xyz", [*frames(range(4)), *frames(range(2))])
    found = open_sources(TrainConfig(data=str(files / "twice.xyz"), test=(str(files / "twice.xyz"),)))
    assert len(found.train) == 4
    train, test, shared = found.notes
    for note in (train, test):
        assert "twice.xyz: 2 of 6 frames left out" in note
    assert "twice.xyz: 4 of 4 structures are also in the training data" in shared


def test_files_are_read_in_the_precision_of_the_run(files):
    for precision, dtype in (("float64", torch.float64), ("float32", torch.float32), ("bf16", torch.float32)):
        found = open_source(str(files / "hot.xyz"), TrainConfig(precision=precision))
        assert {found.structures[0].pos.dtype, found.structures[0].forces.dtype} == {dtype}
        assert found.structures[0].energy.dtype == torch.float64
        sample = open_sources(TrainConfig(precision=precision))
        assert sample.train[0].pos.dtype == sample.test[0].forces.dtype == dtype
    double = open_source(str(files / "hot.xyz"), TrainConfig(precision="float64")).structures[0]
    # As many digits as the file has, and not those of float32.
    assert np.abs(double.pos.numpy() - double.pos.float().double().numpy()).max() > 0


def test_labels_in_another_unit_than_that_of_the_training_set_are_refused():
    gaps = (Target("gap", "graph_scalar", "eV"), Target("homo", "graph_scalar", ""))
    check_units("test.xyz", gaps, gaps)
    check_units("test.xyz", gaps[:1], ())
    with pytest.raises(ValueError, match=r"test\.xyz: gap is in an unknown unit, .* in eV; .*units\.gap=UNIT"):
        check_units("test.xyz", (Target("gap", "graph_scalar"),), gaps)


def test_streamed_files_beside_files_in_memory(files):
    held = open_sources(TrainConfig(data=str(files / "train.xyz"), test=(str(files / "hot.xyz"),)))
    streamed = open_sources(
        TrainConfig(data=str(files / "train.xyz"), test=(str(files / "hot.xyz"),), read={"in_memory": False})
    )
    assert (held.streamed, streamed.streamed) == (False, True)
    for a, b in zip(held.train, streamed.train):
        assert torch.equal(a.pos, b.pos)
        assert torch.equal(a.energy, b.energy)


def test_names_that_are_no_files_or_no_settings_are_named(files):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        open_sources(TrainConfig(data=str(files / "none.xyz")))
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        open_sources(TrainConfig(data=str(files / "train.xyz"), valid=str(files / "none.xyz")))
    with pytest.raises(ValueError, match="there is no data set 'qm9:gab'; did you mean qm9:gap"):
        open_sources(TrainConfig(data="qm9:gab"))
    with pytest.raises(ValueError, match="targets: tells how files are read, but qm9:gap is no file of yours"):
        open_sources(TrainConfig(data="qm9:gap", read={"targets": ["homo"]}))
    with pytest.raises(ValueError, match="targets: qm9:gap decides its labels itself"):
        open_sources(TrainConfig(data="qm9:gap", test="train.xyz", read={"targets": ["homo"]}))
    with pytest.raises(ValueError, match="units: tells how files are read, but the bundled sample is no file of yours"):
        open_sources(TrainConfig(read={"units": {"energy": "Ha"}}))
    with pytest.raises(ValueError, match=r"unknown setting read\.unit; did you mean 'units'"):
        read_options({"unit": "Ha"})
    with pytest.raises(ValueError, match=r"unknown setting read\.dtype"):
        read_options({"dtype": "float64"})


def test_one_target_may_be_a_text_and_targets_of_a_model_replace_those_of_the_settings():
    assert read_options({"targets": "gap"}).targets == ("gap",)
    assert read_options({"targets": ["gap"]}, ("energy",)).targets == ("energy",)
    assert read_options({}).targets == ()
