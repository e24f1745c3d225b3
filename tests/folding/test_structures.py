import pytest
import torch

from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.folding import structure_data
from pyg_equiformer.folding.structures import crop, entries_of, place_in_residue, split_entries, training_data, unpacked
from tests.shared_data import DATA

from . import samples

needs_data = pytest.mark.skipif(not (DATA / "protein_designed_minibinders.npz").exists(), reason="no shared data")


def test_a_crop_is_the_piece_alone_and_short_proteins_stay_whole():
    chain = samples.chain("GASTKVWM", 1)
    data = structure_data([chain], samples.templates())
    piece = crop(data, 3, 2)
    assert (piece.sequence, piece.num_residues, piece.residue.unique().tolist()) == ("STK", 3, [0, 1, 2])
    keep = (data.residue >= 2) & (data.residue < 5)
    for key in ("group_type", "group_place", "pos_true", "rotation", "known"):
        assert torch.equal(piece[key], data[key][keep]), key
    assert piece.seq_pos.tolist() == [2, 3, 4]
    assert piece.num_nodes == int(keep.sum())
    assert crop(data, 8, 0) is data


@needs_data
def test_designs_have_side_chains_that_were_never_packed_and_crystals_have_not():
    designs = read_protein_chains(DATA / "protein_designed_minibinders.npz", "heavy").chains
    crystals = read_protein_chains(DATA / "protein_bm5_chains.npz", "heavy").chains
    assert all(map(unpacked, designs))
    assert not any(map(unpacked, crystals))


@needs_data
def test_of_unpacked_chains_the_backbone_and_the_cb_count_alone():
    chain = read_protein_chains(DATA / "protein_designed_minibinders.npz", "heavy").chains[0]
    data = training_data([chain], samples.templates())
    assert torch.equal(data.known, place_in_residue(data.residue) < 2)
    assert not data.true_mask[~data.known].any()


@needs_data
def test_held_out_entries_are_whole_and_related_to_none_of_the_rest():
    chains = read_protein_chains(DATA / "protein_bm5_fv.npz", "heavy").chains
    chains += read_protein_chains(DATA / "protein_bm5_chains.npz", "heavy").chains[:12]
    split = split_entries(chains, 4, seed=0)
    assert len(split.train) + len(split.valid) == len(entries_of(chains))
    # All antibodies are related: none of them can be held out of four chains.
    assert all(len(entry) == 1 for entry in split.valid)
