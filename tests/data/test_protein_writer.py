import pytest
import torch

from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.data.protein_writer import write_chain, write_chains
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


def complex_of(folder, ids="HL"):
    """Chains of one file; the first has an insertion code and a gap."""
    first = [("GLY", -1, " ", 0), ("ALA", 5, " ", 5), ("SER", 5, "C", 6)]
    second = [("SER", 1, " ", 20), ("GLY", 2, " ", 21)]
    lines = [
        residue(name, number, code=code, place=place, chain=each)
        for each, rows in zip(ids, (first, second))
        for name, number, code, place in rows
    ]
    (folder / "complex.pdb").write_text(pdb(*lines))
    return read_protein_chains(folder / "complex.pdb", "heavy").chains


@pytest.mark.parametrize("name", ["new.pdb", "with space.cif", "NEW.PDB"])
@pytest.mark.parametrize("ids", ["HL", "lL", "B "])
def test_complexes_that_are_written_read_the_same(tmp_path, name, ids):
    chains = complex_of(tmp_path, ids)
    moved = [chain.pos + 0.25 for chain in chains]
    write_chains(tmp_path / name, chains, moved)
    again = read_protein_chains(tmp_path / name, "heavy")
    assert set(again.tally) == {"heavy atoms that the files do not have"}  # the sample is without side chains
    assert [chain.chain for chain in again.chains] == [each.strip() for each in ids]
    for chain, pos, other in zip(chains, moved, again.chains, strict=True):
        assert torch.allclose(other.pos, pos, atol=6e-4)
        assert torch.equal(other.seq_pos, chain.seq_pos)
        for key in ("sequence", "residue_ids", "chain", "atom_names"):
            assert other[key] == chain[key]


def test_a_blank_chain_id_keeps_its_column(tmp_path):
    write_chain(tmp_path / "a.pdb", complex_of(tmp_path, " B")[0])
    assert [chain.chain for chain in read_protein_chains(tmp_path / "a.pdb").chains] == [""]


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_b_factors_are_those_of_each_residue(tmp_path, suffix):
    from biotite.structure.io import load_structure

    chains = complex_of(tmp_path)
    given = [torch.tensor([91.25, 0.0, 100.0]), torch.tensor([12.346, -3.5], dtype=torch.float64)]
    write_chains(tmp_path / f"b{suffix}", chains, b_factor=given)
    atoms = load_structure(tmp_path / f"b{suffix}", extra_fields=["b_factor", "occupancy"])
    wanted = torch.cat([values[chain.residue].double() for values, chain in zip(given, chains)])
    assert torch.allclose(torch.as_tensor(atoms.b_factor, dtype=torch.float64), wanted, atol=0.0051)
    assert set(atoms.occupancy.tolist()) == {1.0}
    write_chains(tmp_path / f"b{suffix}", chains)
    assert not load_structure(tmp_path / f"b{suffix}", extra_fields=["b_factor"]).b_factor.any()


def test_long_chain_ids_need_an_mmcif_file(tmp_path):
    chains = complex_of(tmp_path)
    chains[0].chain = "HEAVY2"
    write_chains(tmp_path / "a.cif", chains)
    assert [chain.chain for chain in read_protein_chains(tmp_path / "a.cif").chains] == ["HEAVY2", "L"]
    with pytest.raises(ValueError, match="room for one letter of a chain's id, got HEAVY2; write"):
        write_chains(tmp_path / "a.pdb", chains)
    write_chain(tmp_path / "a.pdb", chains[0])
    assert read_protein_chains(tmp_path / "a.pdb").chains[0].chain == "H"


def test_what_does_not_fit_the_chains_or_the_file_is_refused(tmp_path):
    chains = complex_of(tmp_path)
    pos, b = [chain.pos for chain in chains], [torch.zeros(3), torch.zeros(2)]
    for arguments, message in (
        (("a.ent", chains), r"expected a name that ends in \.pdb or \.cif"),
        (("a.pdb", []), "expected chains to write, got none"),
        (("a.pdb", [chains[0], chains[0]]), "expected an id for each chain, got some twice: H, H"),
        (("a.pdb", chains, pos[:1]), "expected positions of 2 chains, got those of 1"),
        (("a.pdb", chains, pos[::-1]), r"expected positions \[12, 3\] in Å, got \[8, 3\]"),
        (("a.pdb", chains, pos, b[:1]), "expected B-factors of 2 chains, got those of 1"),
        (("a.pdb", chains, pos, b[::-1]), r"chain 'H': expected B-factors \[3\], got \[2\]"),
        (("a.cif", chains, [pos[0] * torch.nan, pos[1]]), "chain 'H': expected finite positions"),
        (("a.cif", chains, pos, [b[0], b[1] + torch.inf]), "chain 'L': expected finite B-factors"),
        (
            ("a.pdb", chains, [pos[0], pos[1] + 1e4]),
            r"a\.pdb: expected positions between .* in chain 'L'; a \.cif file",
        ),
        (
            ("a.pdb", chains, pos, [b[0] + 1000, b[1]]),
            r"a\.pdb: expected B-factors between -99\.99 and 999\.99 for .* got 1000 to",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            write_chains(tmp_path / arguments[0], *arguments[1:])
        assert not (tmp_path / arguments[0]).exists()


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_complexes_have_numbers_below_zero_beside_those_from_ten_thousand_on(tmp_path, suffix):
    chains = complex_of(tmp_path, " L")
    chains[1].residue_ids = ("9999", "10000B")
    write_chains(tmp_path / f"a{suffix}", chains)
    again = read_protein_chains(tmp_path / f"a{suffix}", "heavy").chains
    assert [chain.residue_ids for chain in again] == [("-1", "5", "5C"), ("9999", "10000B")]
    assert torch.allclose(again[0].pos, chains[0].pos, atol=6e-4)
    assert ("A000" in (tmp_path / f"a{suffix}").read_text()) == (suffix == ".pdb")


def test_the_ends_of_the_columns_have_room(tmp_path):
    chains = complex_of(tmp_path)
    pos = [torch.full_like(chains[0].pos, -999.999), torch.full_like(chains[1].pos, 9999.999)]
    b = [torch.full((3,), -99.99), torch.full((2,), 999.99)]
    write_chains(tmp_path / "a.pdb", chains, pos, b)
    lines = (tmp_path / "a.pdb").read_text().splitlines()
    assert lines[0][30:66] == "-999.999-999.999-999.999  1.00-99.99"
    assert lines[-2][30:66] == "9999.9999999.9999999.999  1.00999.99"
