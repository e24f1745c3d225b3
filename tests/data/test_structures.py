import gzip
import lzma

import pytest
import torch
from torch_geometric.loader import DataLoader

from pyg_equiformer.data import SAMPLES, bundled_sample, read_structures

pytest.importorskip("ase")

WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy=-137.967776252294 pbc="F F F"
O 0.0 0.0 0.119262 0.5 -0.25 0.125
H 0.0 0.763239 -0.477047 -0.25 0.125 0.0
H 0.0 -0.763239 -0.477047 -0.25 0.125 -0.125
"""


def write(path, text):
    path.write_text(text)
    return path


def test_fields_have_the_documented_shapes_types_and_values(tmp_path):
    first, second = read_structures(write(tmp_path / "water.xyz", WATER + "\n" + WATER))
    assert first.z.tolist() == [8, 1, 1]
    assert first.z.dtype == torch.int64
    assert first.pos.dtype == first.forces.dtype == torch.float32
    assert first.energy.shape == (1,)
    assert first.energy.item() == -137.967776252294  # float64: not rounded
    torch.testing.assert_close(first.forces[0], torch.tensor([0.5, -0.25, 0.125]))
    torch.testing.assert_close(second.pos, first.pos)


def test_dtype_applies_to_positions_and_forces(tmp_path):
    (frame,) = read_structures(write(tmp_path / "water.xyz", WATER), torch.float64)
    assert frame.pos.dtype == frame.forces.dtype == torch.float64
    assert frame.pos[0, 2].item() == 0.119262
    with pytest.raises(ValueError, match="expected a floating point type"):
        read_structures(tmp_path / "water.xyz", torch.int64)


def test_batches_concatenate_atoms_and_energies(tmp_path):
    frames = read_structures(write(tmp_path / "water.xyz", WATER * 3))
    batch = next(iter(DataLoader(frames, batch_size=3)))
    assert batch.energy.shape == (3,)
    assert batch.forces.shape == (9, 3)
    assert batch.batch.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_periodic_frames_carry_their_cell_and_so_do_the_others_of_the_file(tmp_path):
    periodic = WATER.replace('pbc="F F F"', 'pbc="T T F" Lattice="9 0 0 1 8 0 0 0 7"')
    first, second = read_structures(write(tmp_path / "water.xyz", WATER + periodic))
    assert second.cell.tolist() == [[[9, 0, 0], [1, 8, 0], [0, 0, 7]]]
    assert second.pbc.tolist() == [[True, True, False]]
    assert first.cell.tolist() == [[[0.0] * 3] * 3]
    assert not first.pbc.any()
    assert next(iter(DataLoader([first, second], batch_size=2))).cell.shape == (2, 3, 3)


@pytest.mark.parametrize(("suffix", "pack"), [(".xyz.xz", lzma.compress), (".xyz.gz", gzip.compress)])
def test_compressed_files_read_the_same(tmp_path, suffix, pack):
    plain = read_structures(write(tmp_path / "water.xyz", WATER))[0]
    packed = tmp_path / f"water{suffix}"
    packed.write_bytes(pack(WATER.encode()))
    torch.testing.assert_close(read_structures(packed)[0].to_dict(), plain.to_dict(), rtol=0, atol=0)


def test_forces_of_fixed_atoms_are_not_zeroed(tmp_path):
    lines = WATER.replace("forces:R:3", "forces:R:3:move_mask:L:1").splitlines()
    fixed = "\n".join(line + " F" if line[0] in "OH" else line for line in lines) + "\n"
    assert read_structures(write(tmp_path / "fixed.xyz", fixed))[0].forces[0, 0].item() == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("energy=-137.967776252294", ""), "expected energy, found only"),
        ((":forces:R:3", ":other:R:3"), "expected forces, found only .*other"),
        (("-137.967776252294", "nan"), "energy are not all finite|energy .*finite"),
        (("0.5 -0.25", "inf -0.25"), "forces are not all finite"),
        (("0.763239", "nan"), "positions are not all finite"),
        (("O 0.0", "Qq 0.0"), "not valid extended XYZ"),
        (("O 0.0", "X 0.0"), "expected chemical elements"),
        (('pbc="F F F"', 'pbc="T T T"'), "cell is"),
        (("-137.967776252294", "low"), "expected energy as numbers, got 'low'"),
        (("O 0.0 0.0 0.119262 0.5 -0.25 0.125", "O 0.0 0.0"), "not valid extended XYZ"),
    ],
)
def test_bad_frames_are_named_by_file_and_number(tmp_path, change, message):
    path = write(tmp_path / "water.xyz", WATER + WATER.replace(*change))
    with pytest.raises(ValueError, match=rf"water\.xyz, frame 1: .*({message})"):
        read_structures(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no frames"),
        ("hello\nworld\n", "frame 0: expected the number of atoms, got 'hello'"),
        (WATER + WATER.rsplit("H", 1)[0], "frame 1: expected 3 atoms, but the file ends after 2"),
    ],
)
def test_files_that_are_not_extended_xyz_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_structures(write(tmp_path / "bad.xyz", text))


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_files_that_are_not_what_the_suffix_says_are_refused(tmp_path, suffix):
    path = tmp_path / f"bad.xyz{suffix}"
    path.write_bytes(b"\xff\xfe not compressed and no text")
    with pytest.raises(ValueError, match=r"bad\.xyz.*expected extended XYZ"):
        read_structures(path)


def test_a_truncated_compressed_file_is_refused(tmp_path):
    for suffix, pack in ((".xz", lzma.compress), (".gz", gzip.compress)):
        path = tmp_path / f"cut.xyz{suffix}"
        path.write_bytes(pack(WATER.encode())[:-20])
        with pytest.raises(ValueError, match=r"cut\.xyz.* expected extended XYZ"):
            read_structures(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        read_structures(tmp_path / "none.xyz")


def test_the_bundled_sample_is_small_and_tells_how_it_was_made():
    files = list(SAMPLES.iterdir())
    assert sum(file.stat().st_size for file in files) < 1_000_000
    assert {"README.md", "ethanol_train.xyz.xz", "ethanol_test.xyz.xz"} <= {file.name for file in files}


def test_the_bundled_sample_is_two_separate_finite_trajectories_of_ethanol():
    train, test = bundled_sample("train"), bundled_sample("test")
    assert (len(train), len(test)) == (1000, 250)
    for frame in train + test:
        assert frame.z.tolist() == [6, 6, 8, 1, 1, 1, 1, 1, 1]
        assert frame.pos.isfinite().all()
        assert frame.forces.isfinite().all()
        assert frame.forces.sum(0).abs().max() < 1e-4  # no net force on a free molecule
    energies = [frame.energy.item() for frame in train + test]
    assert len(set(energies)) == 1250
    for part in (train, test):
        spread = torch.cat([frame.energy for frame in part]).std()
        assert 0.10 < spread < 0.18  # kT sqrt(10.5) = 0.14 eV for a harmonic molecule at 500 K


@pytest.mark.parametrize("split", ["train", "test"])
def test_bundled_frames_are_twenty_femtoseconds_apart(split):
    text = lzma.decompress((SAMPLES / f"ethanol_{split}.xyz.xz").read_bytes()).decode()
    times = [float(part.split()[0]) for part in text.split("time_fs=")[1:]]
    assert times == [20.0 * (index + 1) for index in range(len(times))]


@pytest.mark.parametrize("split", ["train", "test"])
def test_bundled_energies_and_forces_are_those_of_gfn2_xtb(split):
    tblite = pytest.importorskip("tblite.ase")
    from ase import Atoms

    frame = bundled_sample(split, torch.float64)[123]
    atoms = Atoms(frame.z.numpy(), frame.pos.numpy())
    atoms.calc = tblite.TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    assert atoms.get_potential_energy() == pytest.approx(frame.energy.item(), abs=1e-4)
    torch.testing.assert_close(torch.from_numpy(atoms.get_forces()), frame.forces, rtol=0, atol=1e-4)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"split: expected one of \('train', 'test'\), got 'val'"):
        bundled_sample("val")
