import pytest

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import PDB, WATER, same, write

pytest.importorskip("ase")

#: Water without labels of its own.
PLAIN = "3\nwater\nO 0.0 0.0 {}\nH 0.0 0.75 -0.5\nH 0.0 -0.75 -0.5\n"


def folder(path, table=None, count=3):
    for index in range(count):
        write(path / f"w{index}.xyz", PLAIN.format(index / 8))
    if table is not None:
        write(path / "labels.csv", table)
    return path


GAP = ReadOptions(targets=("gap",))
SKIP = ReadOptions(targets=("gap",), bad_frames="skip", missing_labels="skip")
GOOD = "file,gap [Ha]\nw0.xyz,1\nw1.xyz,2\nw2.xyz,3\n"


def gaps(found):
    return [round(data.gap.item() / 27.211386245981, 9) for data in found.structures]


def test_rows_of_the_table_are_labels_of_the_files(tmp_path):
    found = open_structures(folder(tmp_path, GOOD), GAP)
    assert gaps(found) == [1, 2, 3]
    assert (found.targets[0].unit, found.name, found.notes) == ("eV", tmp_path.name, ())
    assert [data.pos[0, 2].item() for data in found.structures] == [0, 0.125, 0.25]
    by_table = open_structures(tmp_path / "labels.csv", GAP)
    assert gaps(by_table) == [1, 2, 3]
    assert by_table.name == tmp_path.name


def test_vectors_have_three_columns_and_energies_of_a_table_their_own_unit(tmp_path):
    table = "file,energy [Ha],m_x [D],m_y [D],m_z [D]\nw0.xyz,-2,1,2,3\n"
    found = open_structures(folder(tmp_path, table, 1), ReadOptions(targets=("energy", "m")))
    assert found.structures[0].energy.item() == -2 * 27.211386245981
    assert found.structures[0].m.tolist() == [[1, 2, 3]]
    assert [t.unit for t in found.targets] == ["eV", "D"]


def test_a_unit_of_energy_in_the_table_says_nothing_of_forces_in_the_file(tmp_path):
    write(tmp_path / "w.xyz", WATER.replace("energy=-137.5 ", ""))
    write(tmp_path / "labels.csv", "file,energy [Ha]\nw.xyz,-5\n")
    (data,) = open_structures(tmp_path).structures
    assert data.energy.item() == -5 * 27.211386245981
    assert data.forces[0].tolist() == [0.5, -0.25, 0.125]


@pytest.mark.parametrize(
    ("table", "message", "left", "note"),
    [
        (
            GOOD + "w9.xyz,4\n",
            r"line 5 .*there is no file .*w9\.xyz",
            [1, 2, 3],
            "1 with rows of files that do not exist",
        ),
        (GOOD.replace("w1.xyz,2\n", ""), "w1.xyz .*expected gap", [1, 3], "1 no gap (frame 2)"),
        (
            GOOD.replace("w1.xyz,2", "w1.xyz,two"),
            "line 3 .*expected gap as a number, got 'two'",
            [1, 3],
            "rows that are",
        ),
        (GOOD.replace("w1.xyz,2", "w1.xyz"), "line 3 .*expected 2 cells", [1, 3], "rows that are not in order"),
        (GOOD.replace("w1.xyz,2", "w1.xyz,2,7"), "line 3 .*expected 2 cells", [1, 3], "rows that are not in order"),
        (GOOD.replace("w1.xyz,2", "w1.xyz,"), "line 3 .*expected gap", [1, 3], "1 no gap (frame 1)"),
    ],
)
def test_rows_and_files_that_do_not_fit_are_errors_or_counted(tmp_path, table, message, left, note):
    folder(tmp_path, table)
    with pytest.raises(ValueError, match=message):
        open_structures(tmp_path, GAP)
    found = open_structures(tmp_path, SKIP)
    assert gaps(found) == left
    assert note in found.notes[0]


def test_a_row_that_stands_twice_is_left_out_once_and_refused_with_another_label(tmp_path):
    found = open_structures(folder(tmp_path, GOOD + "w1.xyz,2\n"), GAP)
    assert gaps(found) == [1, 2, 3]
    assert "1 that repeat an earlier one exactly (frame 3)" in found.notes[0]
    folder(tmp_path, GOOD + "w1.xyz,5\n")
    with pytest.raises(ValueError, match=r"line 5 .*the same structure as .*line 3 .*but with other gap"):
        open_structures(tmp_path, GAP)


def test_mixed_units_in_a_column_are_refused(tmp_path):
    table = "file,homo\nw0.xyz,-0.25 Ha\nw1.xyz,-6.8 eV\nw2.xyz,-6.5 eV\n"
    with pytest.raises(ValueError, match="mixed units in the column homo: line 2 in Ha, line 3 in eV"):
        open_structures(folder(tmp_path, table), ReadOptions(targets=("homo",)))


def test_a_label_in_file_and_table_is_refused(tmp_path):
    write(tmp_path / "w.xyz", WATER)
    write(tmp_path / "labels.csv", "file,energy\nw.xyz,-5\n")
    with pytest.raises(ValueError, match=r"\['energy'\] stand in w.xyz itself, too"):
        open_structures(tmp_path)


def test_a_file_of_several_structures_cannot_have_a_row(tmp_path):
    write(tmp_path / "w.xyz", WATER + WATER.replace("0.125 0.5", "0.25 0.5"))
    write(tmp_path / "labels.csv", "file,gap\nw.xyz,1\n")
    with pytest.raises(ValueError, match="expected one structure in the file, got 2"):
        open_structures(tmp_path, GAP)


def test_without_a_table_files_bring_their_own_labels_and_may_hold_several_structures(tmp_path):
    write(tmp_path / "a.xyz", WATER + WATER.replace("0.125 0.5", "0.25 0.5"))
    write(tmp_path / "b.extxyz", WATER.replace("0.125 0.5", "0.75 0.5"))
    write(tmp_path / "README.md", "what this is")
    (tmp_path / "older").mkdir()
    found = open_structures(tmp_path)
    assert len(found) == 3
    assert found.notes == (
        f"1 files of {tmp_path} are no structures and were left out: README.md",
        f"1 folders in {tmp_path} were not looked into",
    )


def test_formats_may_be_mixed_and_cells_come_with_them(tmp_path):
    from ase.build import bulk
    from ase.io import write as write_ase

    pytest.importorskip("biotite")
    write(tmp_path / "a.pdb", PDB)
    write_ase(tmp_path / "b.cif", bulk("NaCl", "rocksalt", a=5.5))
    folder(tmp_path, "file,gap\na.pdb,1\nb.cif,2\nw0.xyz,3\n", 1)
    found = open_structures(tmp_path, GAP)
    assert [sorted(set(data.z.tolist())) for data in found.structures] == [[6, 7, 8, 30], [11, 17], [1, 8]]
    assert [data.pbc.all().item() for data in found.structures] == [False, True, False]
    streamed = open_structures(tmp_path, ReadOptions(targets=("gap",), in_memory=False))
    assert all(same(a, b) for a, b in zip(found.structures, streamed.structures, strict=True))


def test_a_file_that_cannot_be_read_is_named_or_skipped(tmp_path):
    write(folder(tmp_path, GOOD) / "w1.xyz", "no structure\n")
    with pytest.raises(ValueError, match=r"line 3 \(frame 1, w1.xyz\): .*expected the number of atoms"):
        open_structures(tmp_path, GAP)
    assert gaps(open_structures(tmp_path, SKIP)) == [1, 3]


def test_a_folder_without_structures_is_refused(tmp_path):
    write(tmp_path / "notes.txt", "nothing here")
    with pytest.raises(ValueError, match=r"the folder has no structure files, expected some of \.pdb"):
        open_structures(tmp_path)
