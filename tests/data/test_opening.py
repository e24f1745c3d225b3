import numpy as np
import pytest

from pyg_equiformer.data import SAMPLES, ReadOptions, open_structures
from tests.data.structure_files import WATER, labelled_atoms, same, waters, write
from tests.shared_data import GOLDEN

pytest.importorskip("ase")

DATA = GOLDEN.parent / "data"


def test_a_missing_path_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz: there is no such file or folder"):
        open_structures(tmp_path / "none.xyz")


def test_any_other_file_is_left_to_ase(tmp_path):
    from ase.io import write as write_ase

    frames = [labelled_atoms(index) for index in (0, 2)]
    write_ase(tmp_path / "a.traj", frames)
    found = open_structures(tmp_path / "a.traj")
    assert [t.name for t in found.targets] == ["energy", "forces", "stress"]
    assert found.structures[1].energy.item() == frames[1].calc.results["energy"]
    with pytest.raises(ValueError, match=r"in_memory: .*convert it to extended XYZ or \.db first"):
        open_structures(tmp_path / "a.traj", ReadOptions(in_memory=False))
    with pytest.raises(ValueError, match=r"a\.odd: expected a structure file that ASE reads"):
        open_structures(write(tmp_path / "a.odd", "nothing that anyone knows"))


def test_small_sets_are_held_in_memory_and_large_ones_streamed_if_nothing_is_said(tmp_path, monkeypatch):
    path = write(tmp_path / "water.xyz", waters(4))
    small = open_structures(path)
    monkeypatch.setattr("pyg_equiformer.data.opening.HELD", 3)
    large = open_structures(path)
    assert (small.streamed, large.streamed) == (False, True)
    assert all(same(a, b) for a, b in zip(small.structures, large.structures, strict=True))
    assert not open_structures(path, ReadOptions(in_memory=True)).streamed


def test_a_long_pass_over_all_frames_is_announced(tmp_path, monkeypatch, caplog):
    path = write(tmp_path / "water.xyz", waters(4))
    monkeypatch.setattr("pyg_equiformer.data.opening._LONG", 3)
    open_structures(path)
    assert "looking at all 4 frames once" in caplog.text


def test_names_come_from_the_file(tmp_path):
    assert open_structures(SAMPLES / "ethanol_test.xyz.xz").name == "ethanol_test"
    assert open_structures(write(tmp_path / "my.water.xyz", WATER)).name == "my"


def extended_xyz(path, z, pos, energy, forces, cell=None):
    """Write frames of one composition, as a quantum code's converter would."""
    with path.open("w") as file:
        for index in range(len(energy)):
            lattice = ""
            if cell is not None:
                lattice = f'Lattice="{" ".join(map(repr, cell[index].ravel().tolist()))}" pbc="T T T" '
            n = len(pos[index])
            file.write(f"{n}\n{lattice}Properties=Z:I:1:pos:R:3:forces:R:3 energy={float(energy[index])!r}\n")
            for row in np.column_stack([np.broadcast_to(z, n), pos[index], forces[index]]).tolist():
                file.write(f"{int(row[0])} {' '.join(map(repr, row[1:]))}\n")
    return path


@pytest.mark.parametrize("name", ["3bpa/train_mixedT", "acac/train_600K", "mlearn/Mo/training", "mlearn/Si/test"])
def test_real_data_of_many_temperatures_and_cells_raise_no_false_alarm(tmp_path, name):
    file, _, part = name.partition("/")
    if not (DATA / f"{file}.npz").is_file():
        pytest.skip("the real data sets are not beside this checkout")
    content = np.load(DATA / f"{file}.npz")
    fields = {key: content[f"{part}/{key}"] for key in ("pos", "energy", "forces")}
    if file == "mlearn":
        ends = np.cumsum(content[f"{part}/n_atoms"].astype(int))[:-1]
        fields |= {key: np.split(fields[key], ends) for key in ("pos", "forces")}
        path = extended_xyz(tmp_path / "a.xyz", 42 if "Mo" in part else 14, cell=content[f"{part}/cell"], **fields)
    else:
        path = extended_xyz(tmp_path / "a.xyz", content[f"{part}/z"], **fields)
    found = open_structures(path)
    assert (len(found), found.notes) == (len(fields["energy"]), ())
    assert [data.energy.item() for data in found.structures] == fields["energy"].tolist()
