import pytest

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import WATER, waters, write

pytest.importorskip("ase")


def read(tmp_path, text, **options):
    return open_structures(write(tmp_path / "water.xyz", text), ReadOptions(**options))


def test_every_reason_is_counted_with_the_first_few_frames(tmp_path):
    def change(index, text):
        if index % 2:
            text = text.replace("0.5 -0.25 0.125", "nan -0.25 0.125")
        return text.replace("O 0.0", "X 0.0") if index == 4 else text

    found = read(tmp_path, waters(14, change), bad_frames="skip")
    assert len(found) == 6
    assert found.notes == (
        "8 of 14 frames left out: 7 with numbers that are not finite (frames 1, 3, 5, 7, 9, …); "
        "1 with unknown elements (frame 4)",
    )


def test_exact_repetitions_are_left_out_and_counted_or_kept_or_refused(tmp_path):
    text = waters(3) + waters(2)
    skipped = read(tmp_path, text)
    assert len(skipped) == 3
    assert skipped.notes == ("2 of 5 frames left out: 2 that repeat an earlier one exactly (frames 3, 4)",)
    kept = read(tmp_path, text, duplicates="keep")
    assert (len(kept), kept.notes) == (5, ())
    with pytest.raises(ValueError, match=r"frame 3: the same structure as .*frame 0 \(duplicates=skip"):
        read(tmp_path, text, duplicates="error")


@pytest.mark.parametrize("duplicates", ["skip", "error"])
def test_one_structure_with_two_different_labels_is_an_error_unless_both_are_kept(tmp_path, duplicates):
    text = WATER + WATER.replace("-137.5", "-137.75").replace("-0.25 0.125 0.0", "-0.25 0.25 0.0")
    with pytest.raises(ValueError, match=r"frame 1: the same structure as .*frame 0, but with other energy, forces"):
        read(tmp_path, text, duplicates=duplicates)
    assert len(read(tmp_path, text, duplicates="keep")) == 2


def test_structures_that_differ_in_the_last_digit_or_in_the_cell_are_no_repetitions(tmp_path):
    nearly = WATER.replace("0.0 0.75", "0.0 0.7500000000000001")
    in_cells = [WATER.replace('"F F F"', f'"T T T" Lattice="{a} 0 0 0 9 0 0 0 9"') for a in (8, 9)]
    assert len(read(tmp_path, WATER + nearly + "".join(in_cells))) == 4


def test_a_repetition_is_found_among_frames_of_which_some_were_skipped(tmp_path):
    text = WATER.replace("O 0.0", "X 0.0") + waters(2) + WATER
    found = read(tmp_path, text, bad_frames="skip")
    assert [data.energy.item() for data in found.structures] == [-137.5, -137.515625]
    assert "1 that repeat an earlier one exactly (frame 3)" in found.notes[0]


def test_streamed_sets_leave_out_the_same_frames(tmp_path):
    text = waters(3, lambda i, frame: frame.replace("O 0.0", "X 0.0") if i == 1 else frame) + WATER
    held = read(tmp_path, text, bad_frames="skip")
    streamed = read(tmp_path, text, bad_frames="skip", in_memory=False)
    assert streamed.notes == held.notes
    assert [d.energy.item() for d in streamed.structures] == [d.energy.item() for d in held.structures]


def test_a_set_with_nothing_to_look_for_is_not_gone_through_but_checked_frame_by_frame(tmp_path):
    text = waters(3, lambda index, frame: frame.replace("0.75", "nan") if index == 2 else frame)
    streamed = read(tmp_path, text, duplicates="keep", in_memory=False)
    assert len(streamed) == 3
    assert "frames are checked as they are read" in streamed.notes[0]
    assert streamed.structures[1].energy.item() == -137.515625
    with pytest.raises(ValueError, match="frame 2: positions are not all finite"):
        streamed.structures[2]
