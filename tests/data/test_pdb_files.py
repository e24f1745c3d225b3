import gzip
import tarfile

import pytest
import torch

from pyg_equiformer.data import ReadOptions, open_structures
from tests.data.structure_files import PDB, write
from tests.shared_data import GOLDEN

pytest.importorskip("ase")
pytest.importorskip("biotite")

PROTEINS = GOLDEN.parent / "data" / "protein_pdb_files.tar.gz"
ATOMS = ReadOptions(targets=("b_factor", "occupancy", "charge"), dtype=torch.float64)


def test_all_atoms_are_read_with_what_the_file_tells_of_each(tmp_path):
    found = open_structures(write(tmp_path / "a.pdb", PDB), ATOMS)
    (data,) = found.structures
    assert data.z.tolist() == [7, 6, 30, 8]  # the water too
    assert data.pos.tolist() == [[1, 2, 3.125], [2.625, 2, 3], [9, 9, 9], [5, 5, 5]]
    assert data.b_factor.tolist() == [10.5, 12.0, 20.0, 30.0]
    assert data.occupancy.tolist() == [1.0, 0.6, 1.0, 1.0]
    assert data.charge.tolist() == [1, 0, 2, 0]
    assert "pbc" not in data
    assert [(t.kind, t.unit) for t in found.targets] == [("node_scalar", unit) for unit in ("Å²", "", "e")]


def test_what_is_left_out_is_told(tmp_path):
    atoms = [line for line in PDB.splitlines() if line.startswith(("ATOM", "HETATM"))]
    models = "\n".join(
        [PDB.splitlines()[0], "MODEL        1", *atoms, "ENDMDL", "MODEL        2", *atoms, "ENDMDL", "END"]
    )
    found = open_structures(write(tmp_path / "a.pdb", models + "\n"), ATOMS)
    assert len(found.structures[0].z) == 4
    assert [note.split(" (")[0] for note in found.notes] == [
        "1 atoms at alternate locations of lower occupancy left out",
        "1 models after the first left out",
        "1 cells of CRYST1 not used, as the atoms are read as one molecule",
    ]


def test_the_first_of_equally_occupied_locations_is_taken(tmp_path):
    equal = PDB.replace("  0.40 ", "  0.50 ").replace("  0.60 ", "  0.50 ")
    assert open_structures(write(tmp_path / "a.pdb", equal), ATOMS).structures[0].pos[1, 0].item() == 2.5


@pytest.mark.parametrize("old", [True, False])
def test_elements_of_old_files_are_guessed_from_the_names_of_atoms_and_counted(tmp_path, old):
    lines = [
        line[:72] + ("1ABC1234" if old else "") if line[:4] in ("ATOM", "HETA") else line for line in PDB.splitlines()
    ]
    found = open_structures(write(tmp_path / "a.pdb", "\n".join(lines) + "\n"), ATOMS)
    assert found.structures[0].z.tolist() == [7, 6, 30, 8]
    assert found.structures[0].charge.tolist() == [0, 0, 0, 0]
    assert any("elements guessed from the name of the atom" in note for note in found.notes)


def test_deuterium_is_hydrogen_and_an_unknown_element_an_error(tmp_path):
    text = PDB.replace("           O\n", "           D\n")
    assert open_structures(write(tmp_path / "d.ent", text), ATOMS).structures[0].z[-1].item() == 1
    with pytest.raises(ValueError, match=r"x\.pdb \(frame 0\): expected chemical elements"):
        open_structures(write(tmp_path / "x.pdb", PDB.replace("           O\n", "           X\n")), ATOMS)


@pytest.mark.parametrize(
    "text", ["", "no structure\n", PDB.replace("9.000   9.000   9.000", "9.000   9.0"), PDB.replace("20.00", "2x.00")]
)
def test_files_that_are_cut_or_something_else_are_named(tmp_path, text):
    with pytest.raises(ValueError, match=r"a\.pdb"):
        open_structures(write(tmp_path / "a.pdb", text), ATOMS)


def test_compressed_files_are_read(tmp_path):
    (tmp_path / "a.pdb.gz").write_bytes(gzip.compress(PDB.encode()))
    assert len(open_structures(tmp_path / "a.pdb.gz", ATOMS).structures[0].z) == 4


def test_without_biotite_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "biotite.structure.io.pdb", None)
    with pytest.raises(ImportError, match=r'pip install "pyg_equiformer\[pdb\]"'):
        open_structures(write(tmp_path / "a.pdb", PDB), ATOMS)


def test_thirty_real_files_are_read_whole(tmp_path):
    if not PROTEINS.is_file():
        pytest.skip("the real PDB files are not beside this checkout")
    with tarfile.open(PROTEINS) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    found = open_structures(tmp_path, ReadOptions(targets=("b_factor",)))
    assert len(found) == 30
    lines = (tmp_path / "1AY7_r_u.pdb").read_text().splitlines()
    assert len(found.structures[0].z) == sum(line.startswith(("ATOM", "HETATM")) for line in lines)
    assert found.notes == ("464 elements guessed from the name of the atom (frame 20)",)  # 1MAH is in the old format
