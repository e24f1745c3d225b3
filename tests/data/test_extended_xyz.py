import pickle

import pytest
import torch

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import WATER, same, waters, write

pytest.importorskip("ase")

SKIP = ReadOptions(bad_frames="skip")


def energies(structures):
    return [data.energy.item() for data in structures]


def without_last_atom(text):
    return text.rsplit("H", 1)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_last_atom, "another number of lines than of atoms"),
        (lambda text: text + "H 9.0 9.0 9.0 0.0 0.0 0.0\n", "another number of lines"),
        (
            lambda text: text.replace("0.75 -0.5 -0.25 0.125 0.0", "0.75 -0.5 -0.25 0.125"),
            "missing or additional columns",
        ),
        (lambda text: text.replace("0.75 -0.5 -0.25 0.125 0.0", "0.75 -0.5 -0.25 0.125 0.0 1"), "additional columns"),
        (lambda text: text.replace("0.75", "0.7.5"), "not readable"),
        (lambda text: text.replace("-0.25 0.125 0.0", "nan 0.125 0.0"), "not finite"),
        (lambda text: text.replace("-0.75", "inf"), "not finite"),
        (lambda text: text.replace("O 0.0", "X 0.0"), "unknown elements"),
        (lambda text: text.replace("O 0.0", "Qq 0.0"), "unknown elements"),
        (lambda text: text.replace("3\n", "three\n", 1), "another number of lines"),
    ],
)
def test_a_bad_frame_in_the_middle_is_an_error_or_skipped_alone_counted_and_named(tmp_path, change, reason):
    path = write(tmp_path / "water.xyz", waters(5, lambda index, text: change(text) if index == 2 else text))
    with pytest.raises(ValueError, match=r"water\.xyz, frame 2: .*\(bad_frames=skip leaves such frames out\)"):
        open_structures(path)
    read = open_structures(path, SKIP)
    whole = energies(open_structures(write(tmp_path / "whole.xyz", waters(5))).structures)
    assert energies(read.structures) == [*whole[:2], *whole[3:]]
    (note,) = read.notes
    assert note.startswith("1 of 5 frames left out: 1 with ")
    assert reason in note
    assert note.endswith("(frame 2)")


def test_the_file_may_end_in_the_middle_of_a_frame(tmp_path):
    path = write(tmp_path / "water.xyz", without_last_atom(waters(3)))
    with pytest.raises(ValueError, match="frame 2: expected 3 atoms, but the file ends after 2"):
        open_structures(path)
    assert len(open_structures(path, SKIP)) == 2


def test_a_file_of_bad_frames_only_is_an_error_even_if_they_may_be_skipped(tmp_path):
    path = write(tmp_path / "water.xyz", waters(2, lambda _, text: text.replace("O 0.0", "X 0.0")))
    with pytest.raises(ValueError, match=r"no frame is left of 2: 2 of 2 frames left out.*unknown elements"):
        open_structures(path, SKIP)


def test_one_frame_is_enough(tmp_path):
    assert len(open_structures(write(tmp_path / "water.xyz", WATER))) == 1


def test_labels_of_any_name_are_read_by_their_shape(tmp_path):
    text = WATER.replace("energy=", 'gap=0.25 dipole="1 2 3" charge=0 tag=first energy=').replace(
        "forces:R:3", "forces:R:3:charges:R:1"
    )
    lines = [line + f" {0.5 * i}" if i > 1 else line for i, line in enumerate(text.splitlines())]
    options = ReadOptions(
        targets=("gap", "dipole", "charges", "charge"), units={"gap": "Ha", "dipole": "D"}, dtype=torch.float64
    )
    read = open_structures(write(tmp_path / "water.xyz", "\n".join(lines)), options)
    (data,) = read.structures
    assert [(t.name, t.kind, t.unit) for t in read.targets] == [
        ("gap", "graph_scalar", "eV"),
        ("dipole", "graph_vector", "D"),
        ("charges", "node_scalar", ""),
        ("charge", "graph_scalar", ""),
    ]
    assert data.gap.tolist() == [0.25 * 27.211386245981]
    assert data.dipole.tolist() == [[1.0, 2.0, 3.0]]
    assert data.charges.tolist() == [1.0, 1.5, 2.0]
    assert data.charge.tolist() == [0.0]
    assert "energy" not in data


def test_a_stress_of_nine_numbers_keeps_its_lower_triangle_in_the_check(tmp_path):
    cell = 'Lattice="5 0 0 0 5 0 0 0 5" pbc="T T T" stress="1 2 3 2 4 5 {} 5 6"'
    text = WATER.replace('pbc="F F F"', cell)
    (data,) = open_structures(write(tmp_path / "good.xyz", text.format(3))).structures
    assert data.stress.tolist() == [[[1, 2, 3], [2, 4, 5], [3, 5, 6]]]
    with pytest.raises(ValueError, match="expected stress symmetric"):
        open_structures(write(tmp_path / "bad.xyz", text.format(-3)))


def test_streamed_frames_equal_those_in_memory_and_only_places_in_the_file_are_held(tmp_path):
    path = write(tmp_path / "water.xyz", waters(6, lambda i, text: without_last_atom(text) if i == 3 else text))
    held = open_structures(path, ReadOptions(bad_frames="skip", in_memory=True))
    streamed = open_structures(path, ReadOptions(bad_frames="skip", in_memory=False))
    assert (held.streamed, streamed.streamed) == (False, True)
    assert held.notes == streamed.notes
    assert len(streamed) == 5
    assert all(same(a, b) for a, b in zip(held.structures, streamed.structures, strict=True))
    assert len(pickle.dumps(streamed.structures)) < len(pickle.dumps(held.structures)) / 2
    assert same(streamed.structures[1:][-1], held.structures[-1])
    with pytest.raises(IndexError, match="expected -5 to 4, got 5"):
        streamed.structures[5]


def test_compressed_files_cannot_be_streamed(tmp_path):
    import lzma

    path = tmp_path / "water.xyz.xz"
    path.write_bytes(lzma.compress(WATER.encode()))
    with pytest.raises(ValueError, match=r"in_memory: expected True or None .*unpack it first"):
        open_structures(path, ReadOptions(in_memory=False))
    assert not open_structures(path).streamed
