import pytest

from pyg_equiformer.data.label_tables import read_label_table
from tests.data.structure_files import write


def read(tmp_path, text):
    return read_label_table(write(tmp_path / "labels.csv", text))


def test_columns_are_labels_and_the_header_may_tell_their_units(tmp_path):
    table = read(
        tmp_path, "\ufefffile, gap [eV],mu (D),dipole_x [D],dipole_y [D],dipole_z [D]\na.pdb, 1.5,-2e-1,1,2,3\n\n"
    )
    assert table.names == ("gap", "mu", "dipole")
    assert table.units == {"gap": "eV", "mu": "D", "dipole": "D"}
    (row,) = table.rows
    assert (row.file, row.line) == ("a.pdb", 2)
    assert row.labels["gap"] == 1.5
    assert row.labels["mu"] == -0.2
    assert row.labels["dipole"].tolist() == [1, 2, 3]


def test_one_unit_in_every_cell_is_the_unit_of_the_column(tmp_path):
    table = read(tmp_path, "file,homo\na,-6.8 eV\nb,-6.5eV\n")
    assert table.units == {"homo": "eV"}
    assert [row.labels["homo"] for row in table.rows] == [-6.8, -6.5]
    assert read(tmp_path, "file,homo [Ha]\na,-0.25 hartree\nb,-0.24\n").units == {"homo": "Ha"}


@pytest.mark.parametrize("empty", ["", "nan", "N/A", "None"])
def test_empty_cells_are_missing_labels(tmp_path, empty):
    table = read(tmp_path, f"file,a,b,m_x,m_y,m_z\nf,{empty},2,{empty},{empty},{empty}\n")
    assert table.rows[0].labels == {"b": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,homo\na,-0.25 Ha\nb,-6.8 eV\n", "mixed units in the column homo: line 2 in Ha, line 3 in eV"),
        ("file,homo\na,-6.8\nb,-0.25 Ha\n", "mixed units in the column homo: line 2 in no unit, line 3 in Ha"),
        ("file,homo [eV]\na,-6.8\nb,-0.25 Ha\n", r"column homo \[eV\]: line 2 in eV, line 3 in Ha; expected one unit"),
        ("name,gap\na,1\n", r"expected a column 'file' in the header, got \['name', 'gap'\]"),
        ("file;gap\na;1\n", "separate columns by commas"),
        ("file,gap,gap\na,1,2\n", "expected a name of its own for each column"),
        ("file,m_x,m_y\na,1,2\n", "expected m_x, m_y, m_z for the vector m"),
        ("file,m_x [D],m_y [D],m_z [e]\na,1,2,3\n", "mixed units in the vector m"),
        ("file,gap\n", "a header but no rows"),
        ("", "the table is empty"),
    ],
)
def test_tables_that_are_not_in_order_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"labels\.csv: .*{message}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,1", "expected 3 cells as in the header, got 2"),
        ("a,1,2,3", "expected 3 cells as in the header, got 4"),
        ("a,one,2", "expected gap as a number, got 'one'"),
        ("a,inf,2", "expected gap as a finite number, got 'inf'"),
        (",1,2", "expected the name of a file, got an empty cell"),
    ],
)
def test_rows_that_cannot_be_used_say_why(tmp_path, row, problem):
    table = read(tmp_path, f"file,gap,mu\n{row}\nb,1,2\n")
    assert [row.problem for row in table.rows] == [problem, ""]


def test_a_vector_needs_all_its_components(tmp_path):
    table = read(tmp_path, "file,m_x,m_y,m_z\na,1,,3\n")
    assert "expected all three of m_x, m_y, m_z, got [1.0, None, 3.0]" in table.rows[0].problem


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"file,gap\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="expected a table as CSV text"):
        read_label_table(path)
