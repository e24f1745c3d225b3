import pytest
import torch

from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.data.protein_writer import write_chain
from tests.data.protein_texts import pdb, residue

pytest.importorskip("biotite")


@pytest.mark.parametrize("atoms", ["backbone", "heavy"])
def test_what_is_written_reads_the_same_with_its_numbers_and_codes(tmp_path, atoms):
    lines = [
        residue("GLY", -1, chain="B"),
        residue("ALA", 0, chain="B"),
        residue("SER", 0, code="C", place=1, chain="B"),
    ]
    (tmp_path / "a.pdb").write_text(pdb(*lines))
    chain = read_protein_chains(tmp_path / "a.pdb", atoms).chains[0]
    moved = chain.pos + 0.125
    write_chain(tmp_path / "moved.pdb", chain, moved)
    again = read_protein_chains(tmp_path / "moved.pdb", atoms)
    assert not {k for k in again.tally if "END" in k}
    assert torch.allclose(again.chains[0].pos, moved, atol=6e-4)
    for key in ("sequence", "residue_ids", "chain", "atom_names"):
        assert again.chains[0][key] == chain[key]
    assert chain.residue_ids == ("-1", "0", "0C")


def test_positions_of_another_shape_are_refused(tmp_path):
    (tmp_path / "a.pdb").write_text(pdb(residue("GLY", 1)))
    chain = read_protein_chains(tmp_path / "a.pdb").chains[0]
    with pytest.raises(ValueError, match=r"expected positions \[3, 3\] in Å, got \[2, 3\]"):
        write_chain(tmp_path / "b.pdb", chain, chain.pos[:2])


def test_numbers_from_ten_thousand_on_come_back(tmp_path):
    (tmp_path / "a.pdb").write_text(
        pdb(residue("GLY", 9999, place=1), residue("GLY", 1, place=2)).replace("   1", "A000")
    )
    chain = read_protein_chains(tmp_path / "a.pdb").chains[0]
    assert chain.residue_ids == ("9999", "10000")
    write_chain(tmp_path / "b.pdb", chain)
    assert read_protein_chains(tmp_path / "b.pdb").chains[0].residue_ids == chain.residue_ids


def test_positions_without_room_are_refused(tmp_path):
    (tmp_path / "a.pdb").write_text(pdb(residue("GLY", 1)))
    chain = read_protein_chains(tmp_path / "a.pdb").chains[0]
    for shift in (-2000.0, 1e5, float("nan")):
        with pytest.raises(ValueError, match=r"b\.pdb: expected positions between -999\.999 and 9999\.999 Å"):
            write_chain(tmp_path / "b.pdb", chain, chain.pos + shift)
