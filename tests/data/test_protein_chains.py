import gzip
import tarfile

import numpy as np
import pytest
import torch

from pyg_equiformer.data.protein_chains import read_protein_chains
from tests.data.protein_texts import atom, chain, mmcif, pdb, residue
from tests.shared_data import GOLDEN

pytest.importorskip("biotite")

DATA = GOLDEN.parent / "data"


def read(path, text, atoms="backbone"):
    path.write_text(text)
    return read_protein_chains(path, atoms)


def one(path, text, atoms="backbone"):
    found = read(path, text, atoms)
    assert len(found.chains) == 1
    return found.chains[0], found.tally


def test_backbone_and_heavy_atoms_are_told_apart_by_tokens(tmp_path):
    text = pdb(residue("GLY", 1), residue("ALA", 2, ["N", "CA", "C", "O", "CB"]))
    data, tally = one(tmp_path / "a.pdb", text)
    assert data.z.tolist() == [7, 6, 6, 7, 6, 6]
    assert data.atom_type.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.residue.tolist() == data.seq_pos.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.sequence, data.chain, data.name, data.residue_ids) == ("GA", "A", "a_A", ("1", "2"))
    assert torch.allclose(data.pos[1], torch.tensor([4.8, 0.8, 0.0]))
    assert not tally
    heavy, _ = one(tmp_path / "a.pdb", text, "heavy")
    assert heavy.atom_names == ("N", "CA", "C", "O", "N", "CA", "C", "O", "CB")
    assert len(set(heavy.atom_type.tolist())) == 9


@pytest.mark.parametrize("name", ["a.cif", "a.pdb.gz", "a.cif.gz", "a.ent"])
def test_all_formats_give_the_same_chain(tmp_path, name):
    text = pdb(
        residue("MSE", 1, record="HETATM"), residue("SER", 2), residue("GLY", 3, code="A"), residue("GLY", 5, code="B")
    )
    expected, tally = one(tmp_path / "a.pdb", text)
    content = mmcif(text) if ".cif" in name else text
    (tmp_path / name).write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    found = read_protein_chains(tmp_path / name)
    for key in ("z", "pos", "atom_type", "residue", "seq_pos"):
        assert torch.equal(found.chains[0][key], expected[key]), key
    for key in ("sequence", "residue_ids", "chain", "name"):
        assert found.chains[0][key] == expected[key]
    assert found.tally == tally


def test_a_folder_is_read_and_what_else_it_holds_is_counted(tmp_path):
    (tmp_path / "a.pdb").write_text(chain("AG"))
    (tmp_path / "b.cif").write_text(mmcif(chain("GGG")))
    (tmp_path / "notes.txt").write_text("nothing")
    found = read_protein_chains(tmp_path)
    assert [c.sequence for c in found.chains] == ["AG", "GGG"]
    assert found.tally == {"entries of folders that are no protein files left out": 1}
    again = read_protein_chains([tmp_path, tmp_path / "a.pdb"])
    assert again.tally["files given twice read once"] == 1
    assert len(again.chains) == 2


def test_residues_without_a_complete_backbone_are_skipped_and_leave_a_gap(tmp_path):
    text = pdb(residue("ALA", 1), residue("SER", 2, ["N", "CA"]), residue("GLY", 3), residue("GLY", 9, place=9))
    data, tally = one(tmp_path / "a.pdb", text)
    assert data.sequence == "AGG"
    assert data.seq_pos[::3].tolist() == [0, 2, 8]
    assert tally == {"residues without a complete backbone (N, CA, C) skipped": 1}


def test_numbers_that_jump_make_no_gap_where_residues_are_bonded(tmp_path):
    data, _ = one(tmp_path / "a.pdb", pdb(residue("ALA", 1, place=1), residue("GLY", 100, place=2)))
    assert data.seq_pos[::3].tolist() == [0, 1]


def test_the_location_with_the_highest_occupancy_is_taken(tmp_path):
    atoms = [
        atom("N"),
        atom("CA", altloc="A", occupancy=0.3, x=9.0),
        atom("CA", altloc="B", occupancy=0.7, x=5.0),
        atom("C"),
    ]
    data, tally = one(tmp_path / "a.pdb", pdb(atoms))
    assert data.pos[:, 0].tolist() == pytest.approx([3.6, 5.0, 6.0])
    assert tally == {"atoms at alternate locations of lower occupancy left out": 1}


def test_of_two_amino_acids_at_one_place_the_one_with_the_higher_occupancy_is_taken(tmp_path):
    rare = residue("SER", 1, altloc="A", occupancy=0.4)
    text = pdb(rare, residue("ALA", 1, altloc="B", occupancy=0.6), residue("GLY", 2))
    data, tally = one(tmp_path / "a.pdb", text)
    assert data.sequence == "AG"
    assert tally == {"atoms at alternate locations of lower occupancy left out": 4}


def test_residues_with_insertion_codes_are_residues_of_their_own(tmp_path):
    lines = [residue("GLY", 52, code=code, place=k) for k, code in enumerate((" ", "A", "B"))]
    data, tally = one(tmp_path / "a.pdb", pdb(*lines, residue("ALA", 53, place=3)))
    assert data.residue_ids == ("52", "52A", "52B", "53")
    assert data.seq_pos[::3].tolist() == [0, 1, 2, 3]
    assert not tally


def test_selenomethionine_is_methionine_and_its_selenium_the_sulphur(tmp_path):
    text = pdb(residue("ALA", 1), residue("MSE", 2, ["N", "CA", "C", "O", "SE"], record="HETATM"))
    data, tally = one(tmp_path / "a.pdb", text, "heavy")
    assert data.sequence == "AM"
    assert data.atom_names[-1] == "SD"
    assert data.z[-1] == 16
    assert tally["modified residues read as the amino acid they were made from"] == 1


def test_unknown_residues_in_a_chain_are_kept_and_amino_acids_beside_it_left_out(tmp_path):
    inside = residue("ZZZ", 2, ["N", "CA", "C", "O", "CB", "XY"], record="HETATM")
    ligand = residue("SER", 90, record="HETATM")
    data, tally = one(tmp_path / "a.pdb", pdb(residue("ALA", 1), inside, ligand), "heavy")
    assert data.sequence == "AX"
    assert tally["residues that are no known amino acid, kept as X"] == 1
    assert tally["ligands, ions and nucleotides left out"] == 1
    assert tally["atoms that the amino acid does not have left out"] == 1


def test_water_ions_nucleotides_hydrogen_and_terminal_oxygens_are_left_out_and_counted(tmp_path):
    text = pdb(
        residue("GLY", 1, ["N", "CA", "C", "O", "OXT", "HA"]),
        [atom("O", "HOH", n, record="HETATM") for n in (50, 51)],
        [atom("CA", " CA", 60, record="HETATM")],
        residue("DA", 1, ["P", "C4'"], chain="B"),
    )
    data, tally = one(tmp_path / "a.pdb", text, "heavy")
    assert data.num_nodes == 4
    assert tally == {
        "hydrogen atoms left out": 1,
        "terminal oxygens (OXT) left out": 1,
        "waters left out": 2,
        "ligands, ions and nucleotides left out": 2,
        "chains without residues of a protein left out": 1,
    }


def test_the_first_of_several_models_is_read(tmp_path):
    lines = residue("GLY", 1)
    models = ["MODEL        1", *lines, "ENDMDL", "MODEL        2", *residue("GLY", 1, place=7), "ENDMDL"]
    data, tally = one(tmp_path / "a.pdb", pdb(models))
    assert data.pos[0, 0].item() == pytest.approx(3.6)
    assert tally == {"models after the first left out": 1}


def test_atoms_that_are_not_finite_are_as_good_as_absent(tmp_path):
    broken = [atom("N", number=2), atom("CA", number=2, x=float("nan")), atom("C", number=2)]
    data, tally = one(tmp_path / "a.pdb", pdb(residue("ALA", 1), broken, residue("GLY", 3)))
    assert data.sequence == "AG"
    assert tally["atoms whose coordinates are not finite left out"] == 1
    assert tally["residues without a complete backbone (N, CA, C) skipped"] == 1


@pytest.mark.parametrize("unknown", ["?", "."])
def test_unknown_coordinates_of_mmcif_files_are_not_zeros(tmp_path, unknown):
    data, tally = one(tmp_path / "a.cif", mmcif(chain()).replace("6.000", unknown, 1))
    assert data.residue_ids == ("2", "3", "4")
    assert tally["atoms whose coordinates are not finite left out"] == 1
    assert tally["residues without a complete backbone (N, CA, C) skipped"] == 1


def test_mmcif_files_may_lack_columns_that_tell_nothing_and_hold_other_blocks(tmp_path):
    lines, lost = mmcif(chain()).splitlines(), (0, 2, 4, 9, 13, 19)
    columns = [k for k, line in enumerate(lines) if line.startswith("_atom_site.")]
    text = [line for k, line in enumerate(lines) if k not in {columns[0] + c for c in lost}]
    text = [
        " ".join(v for c, v in enumerate(line.split()) if c not in lost) if line.startswith("ATOM") else line
        for line in text
    ]
    data, tally = one(tmp_path / "a.cif", "data_other\n_cell.length_a 1.0\n#\n" + "\n".join(text) + "\n")
    assert (data.sequence, tally) == ("AAAA", {})


def test_locations_that_stand_apart_from_their_residue_belong_to_it(tmp_path):
    first, last = (
        [line for k in (1, 2) for line in residue("ALA", k, altloc=where, occupancy=share)]
        for where, share in (("A", 0.4), ("B", 0.6))
    )
    data, tally = one(tmp_path / "a.pdb", pdb(first, residue("ALA", 3), last))
    assert data.residue_ids == ("1", "2", "3")
    assert tally == {"atoms at alternate locations of lower occupancy left out": 8}


def test_chains_that_share_a_letter_and_numbers_stay_apart(tmp_path):
    data, _ = one(tmp_path / "a.pdb", pdb(*(residue("ALA", k) for k in (1, 2)), ["TER"], residue("GLY", 1, place=9)))
    assert (data.sequence, data.residue_ids) == ("AAG", ("1", "2", "1"))


def test_chains_of_one_name_get_names_of_their_own(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.pdb").write_text(chain())
    found = read_protein_chains([tmp_path / "one", tmp_path / "two"])
    assert [c.name for c in found.chains] == ["a_A", "a_A-2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.pdb", "", "found no ATOM or HETATM record"),
        ("a.pdb", "<html>not found</html>\n", "found no ATOM or HETATM record"),
        ("a.pdb", chain()[:125], r"a\.pdb, line 2: expected x, y, z in columns 31 to 54"),
        ("a.pdb", chain().replace("   6.000", "   6.0x0", 1), r"a\.pdb, line 3: .* got '   6\.0x0"),
        ("a.pdb", chain().replace("A   2 ", "A   x ", 1), r"line 5: expected the number of a residue .* got '   x'"),
        ("a.pdb", chain().replace("  1.00", "  1.x0", 1), r"line 1: expected an occupancy .* got '  1\.x0'"),
        ("a.pdb", "MODEL        1\n" + chain().replace("END\n", ""), r"line 1: the model has no ENDMDL"),
        ("a.cif", "data_X\n#\n", "found no _atom_site"),
        ("a.cif", mmcif(chain())[:-40], r"a\.cif, line \d+: expected 20 values, got 1\d"),
        (
            "a.cif",
            mmcif(chain()).replace("6.000", "6.0x0", 1),
            r"a\.cif, line 26: expected a number as Cartn_x, got '6\.0x0'",
        ),
        (
            "a.cif",
            mmcif(chain()).replace("10.0 1 ALA", "10.0 ? ALA", 1),
            "line 24: expected the number of a residue as auth_",
        ),
        ("a.cif", mmcif(chain()).replace("Cartn_y", "y"), r"expected more columns of _atom_site, missing are Cartn_y"),
        ("a.cif", mmcif(chain()) + mmcif(chain()).replace("TEST", "B"), "got those of the data blocks TEST, B"),
        (
            "a.pdb",
            pdb([atom("O", "HOH", record="HETATM")]),
            "found none .*1 waters left out",
        ),
        ("a.xyz", chain(), r"a\.xyz: expected a name that ends in one of \.pdb"),
    ],
)
def test_files_that_are_cut_or_something_else_are_refused_with_place_and_reason(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name, text)


def test_broken_compression_other_bytes_and_empty_folders_are_refused(tmp_path):
    (tmp_path / "a.pdb.gz").write_bytes(gzip.compress(chain().encode())[:-20])
    with pytest.raises(ValueError, match=r"a\.pdb\.gz: the compressed file is truncated"):
        read_protein_chains(tmp_path / "a.pdb.gz")
    (tmp_path / "b.pdb").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"b\.pdb: expected text"):
        read_protein_chains(tmp_path / "b.pdb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: the folder has no protein files"):
        read_protein_chains(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        read_protein_chains(tmp_path / "c.pdb")


def test_a_file_without_its_end_is_read_and_told(tmp_path):
    _, tally = one(tmp_path / "a.pdb", chain().replace("END\n", ""))
    assert tally == {"PDB files without END, perhaps cut at the end of a line": 1}


def test_short_lines_of_tools_that_write_coordinates_only_are_read(tmp_path):
    data, tally = one(tmp_path / "a.pdb", "\n".join(line[:54] for line in chain("AG").splitlines()) + "\n")
    assert data.sequence == "AG"
    assert tally == {"atoms without an occupancy, taken as 1": 8}


def test_arrays_give_the_chains_that_they_hold_and_broken_ones_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    mask = np.zeros((3, 16), bool)
    mask[:, :3] = True
    mask[1, 4] = True  # CB
    arrays = {
        "name": np.array(["one", "two"]),
        "offset": np.array([0, 2, 3]),
        "seq": np.array(["GA", "S"]),
        "chain": np.array([0, 0, 1], np.uint8),
        "atom14_mask": np.packbits(mask, axis=1),
        "coords_mA": np.arange(30, dtype=np.int32).reshape(10, 3) * 100,
    }
    np.savez(path, **arrays)
    first, second = read_protein_chains(path, "heavy").chains
    assert (first.name, first.sequence, second.name) == ("one_A", "GA", "two_B")
    assert first.atom_names == ("N", "CA", "C", "N", "CA", "C", "CB")
    assert second.pos[0].tolist() == pytest.approx([2.1, 2.2, 2.3])
    np.savez(path, **{**arrays, "coords_mA": arrays["coords_mA"][:-1]})
    with pytest.raises(ValueError, match="10 atoms in atom14_mask and 9 in coords_mA"):
        read_protein_chains(path)
    np.savez(path, z=np.zeros(3))
    with pytest.raises(ValueError, match="missing are name, offset"):
        read_protein_chains(path)
    for changes, message in (
        ({"seq": np.array(["G?", "S"])}, r"expected letters of amino acids in seq, got '\?'"),
        ({"offset": np.array([0, 4, 3])}, r"expected an offset \[3\] that rises from 0 to 3 residues"),
        ({"offset": np.array([0, 3])}, r"got 0 … 3 \[2\]"),
        ({"chain": np.zeros(2, np.uint8)}, "3 residues in atom14_mask, 2 in chain"),
        ({"atom14_mask": np.zeros(3, np.uint8)}, r"expected atom14_mask of uint8 \[R, 2\]"),
    ):
        np.savez(path, **{**arrays, **changes})
        with pytest.raises(ValueError, match=rf"a\.npz: the arrays do not fit together: .*{message}"):
            read_protein_chains(path)
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"a\.npz: expected an \.npz file of arrays"):
        read_protein_chains(path)


def test_without_biotite_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "biotite.structure.io", None)
    with pytest.raises(ImportError, match=r'pip install "pyg_equiformer\[pdb\]"'):
        read(tmp_path / "a.pdb", chain())


def test_thirty_real_files_give_thirty_chains(tmp_path):
    if not (DATA / "protein_pdb_files.tar.gz").is_file():
        pytest.skip("the real PDB files are not beside this checkout")
    with tarfile.open(DATA / "protein_pdb_files.tar.gz") as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    found = read_protein_chains(tmp_path)
    assert len(found.chains) == 30
    assert all(c.num_nodes == 3 * len(c.sequence) for c in found.chains)
    assert found.tally == {"terminal oxygens (OXT) left out": 14, "ligands, ions and nucleotides left out": 2}
