import numpy as np
import pytest
import torch

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import WATER, write

pytest.importorskip("ase")


def read(tmp_path, text, **options):
    return open_structures(write(tmp_path / "water.xyz", text), ReadOptions(**options))


def test_by_itself_the_reader_takes_what_the_first_frame_has_of_energy_forces_and_stress(tmp_path):
    without_forces = WATER.replace(":forces", ":other")
    assert [t.name for t in read(tmp_path, WATER).targets] == ["energy", "forces"]
    assert [t.name for t in read(tmp_path, without_forces).targets] == ["energy"]
    found = read(tmp_path, without_forces + WATER.replace("0.125 0.5", "0.25 0.5"))
    assert "forces" not in found.structures[1]
    (note,) = found.notes
    assert "forces of 1 frames (frame 1) are not used" in note
    assert "targets=energy,forces missing_labels=mask" in note


def test_without_any_known_label_the_error_lists_what_there_is(tmp_path):
    text = WATER.replace("energy=", "gap=").replace(":forces", ":kicks")
    with pytest.raises(ValueError, match=r"frame 0: .*only \['gap', 'kicks'\]; say what to read with targets=NAME"):
        read(tmp_path, text)
    masked = read(tmp_path, text, missing_labels="mask")
    assert masked.targets == ()  # structures alone, to predict on
    assert set(masked.structures[0].keys()) == {"pos", "z"}


def test_where_frames_without_labels_are_skipped_the_first_one_with_some_decides(tmp_path):
    bare = WATER.replace("energy=", "gap=").replace(":forces", ":kicks").replace("0.125 0.5", "0.75 0.5")
    found = read(tmp_path, bare + WATER, missing_labels="skip")
    assert [t.name for t in found.targets] == ["energy", "forces"]
    assert found.notes == ("1 of 2 frames left out: 1 no energy (frame 0)",)


def test_names_say_what_labels_are_called_in_the_file(tmp_path):
    text = WATER.replace("energy=", "PBE_E=").replace(":forces", ":PBE_F")
    found = read(tmp_path, text, names={"energy": "PBE_E", "forces": "PBE_F"})
    assert found.structures[0].energy.item() == -137.5
    assert found.structures[0].forces[0].tolist() == [0.5, -0.25, 0.125]
    assert found.notes == ()
    with pytest.raises(ValueError, match="frame 0: expected HF_E, found only"):
        read(tmp_path, text, names={"energy": "HF_E"})
    with pytest.raises(ValueError, match="names: 'gap' is not among the targets"):
        read(tmp_path, text.replace("PBE_E=", "energy="), names={"gap": "PBE_F"})


def test_reference_labels_are_recognised_and_it_is_told_which_were_read(tmp_path):
    text = WATER.replace("energy=", "REF_energy=").replace(":forces", ":REF_forces")
    found = read(tmp_path, text)
    assert found.structures[0].energy.item() == -137.5
    assert found.notes == ("energy was read from REF_energy", "forces was read from REF_forces")
    both = read(tmp_path, WATER.replace("energy=", "REF_energy=-1 energy="))
    assert both.structures[0].energy.item() == -137.5
    assert "the file has energy and REF_energy: energy was read" in both.notes[0]
    assert read(tmp_path, WATER.replace("energy=", "REF_energy=-1 energy="), names={"energy": "REF_energy"}).structures[
        0
    ].energy.tolist() == [-1.0]


PERIODIC = WATER.replace('pbc="F F F"', 'pbc="T T T" Lattice="2 0 0 0 2 0 0 0 2" virials="8 0 0 0 16 0 0 0 4"')


def test_virials_are_no_stress_but_become_it_with_minus_over_the_volume(tmp_path):
    expected = [[[-1.0, 0.0, 0.0], [0.0, -2.0, 0.0], [0.0, 0.0, -0.5]]]
    unused = read(tmp_path, PERIODIC)
    assert [t.name for t in unused.targets] == ["energy", "forces"]
    assert unused.notes == ("virials of the file are not used; names virials=virials reads them as stress",)
    for options in ({"names": {"virials": "virials"}}, {"targets": ("stress",)}):
        found = read(tmp_path, PERIODIC, **options)
        assert found.structures[0].stress.tolist() == expected
        assert found.targets[-1].unit == "eV/Å³"
    converted = read(tmp_path, PERIODIC, names={"virials": "virials"}, units={"energy": "Ha"}, dtype=torch.float64)
    assert converted.structures[0].stress[0, 1, 1].item() == pytest.approx(-2 * 27.211386245981, rel=1e-14)


def test_virials_without_a_cell_are_refused(tmp_path):
    text = WATER.replace("energy=", 'virials="8 0 0 0 16 0 0 0 4" energy=')
    with pytest.raises(ValueError, match="virials over the volume are the stress, but there is no cell"):
        read(tmp_path, text, names={"virials": "virials"})


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("1 2 3 4 5 6", [[1, 6, 5], [6, 2, 4], [5, 4, 3]]),  # xx, yy, zz, yz, xz, xy
        ("1 6 5 6 2 4 5 4 3", [[1, 6, 5], [6, 2, 4], [5, 4, 3]]),
    ],
)
def test_six_numbers_of_stress_are_in_the_order_of_ase(tmp_path, stated, expected):
    text = PERIODIC.replace("virials=", f'stress="{stated}" virials=')
    assert read(tmp_path, text).structures[0].stress.tolist() == [expected]


@pytest.mark.parametrize(
    ("change", "targets", "message"),
    [
        (("energy=", 'dipole="1 2" energy='), ("dipole",), r"expected dipole as numbers, got shape \(2,\)"),
        (("energy=", "kind=low energy="), ("kind",), "expected kind as numbers, got 'low'"),
        (("energy=-137.5", 'energy="1 2 3"'), (), "expected energy as graph_scalar, but energy is graph_vector"),
        ((":forces:R:3", ":forces:R:2:rest:R:1"), ("forces",), "a vector of 3 per atom"),
        (("energy=", "energy="), ("gap",), "frame 0: expected gap, found only .*'energy', 'forces'"),
    ],
)
def test_labels_of_a_shape_that_means_nothing_are_refused(tmp_path, change, targets, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, WATER.replace(*change), targets=targets)


def test_a_label_of_another_shape_in_a_later_frame_is_named(tmp_path):
    text = WATER.replace("energy=", 'dipole="1 2 3" energy=')
    with pytest.raises(ValueError, match=r"frame 1: expected dipole of shape \(3,\) \(graph_vector\), got \(\)"):
        read(tmp_path, text + text.replace('"1 2 3"', "7"), targets=("dipole",))


def test_missing_labels_stop_or_are_skipped_or_masked(tmp_path):
    other = WATER.replace("0.125 0.5", "0.25 0.5")
    text = WATER.replace(":forces", ":other") + other
    asked = {"targets": ("energy", "forces")}
    with pytest.raises(ValueError, match=r"frame 0: expected forces, .*missing_labels=skip"):
        read(tmp_path, text, **asked)
    skipped = read(tmp_path, text, missing_labels="skip", **asked)
    assert len(skipped) == 1
    assert skipped.notes == ("1 of 2 frames left out: 1 no forces (frame 0)",)
    masked = read(tmp_path, text, missing_labels="mask", **asked)
    assert masked.structures[0].forces.isnan().all()
    assert masked.structures[1].forces.isfinite().all()
    assert "1 of 2 frames have no forces (frame 0): filled with NaN" in masked.notes


def test_a_label_that_is_nan_throughout_is_a_bad_frame_unless_it_may_be_missing(tmp_path):
    text = WATER.replace("energy=-137.5", "energy=nan") + WATER.replace("0.125 0.5", "0.25 0.5")
    with pytest.raises(ValueError, match="frame 0: energy are not all finite numbers: nan"):
        read(tmp_path, text)
    masked = read(tmp_path, text, missing_labels="mask")
    assert [np.isnan(data.energy.item()) for data in masked.structures] == [True, False]
    with pytest.raises(ValueError, match="forces are not all finite"):  # only some of the numbers are
        read(tmp_path, text.replace("0.5 -0.25 0.125", "nan -0.25 0.125", 1), missing_labels="mask")
