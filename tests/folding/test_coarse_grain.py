import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.data import read_protein_chains
from pyg_equiformer.data.protein_atoms import RESIDUE_ATOMS
from pyg_equiformer.data.protein_split import split_chains
from pyg_equiformer.folding import (
    Frames,
    all_atoms,
    coarse_grain,
    fit_templates,
    group_atoms,
    residue_positions,
)
from pyg_equiformer.folding.groups import GROUPS, SYMMETRIC, group_flips, group_slots, group_types
from pyg_equiformer.folding.templates import chain_groups, residue_atoms

from ..shared_data import DATA
from .samples import LETTERS, chain, frames, templates


def test_groups_cover_every_heavy_atom_of_every_residue_with_three_atoms_or_more():
    for letter, atoms in RESIDUE_ATOMS.items():
        groups = [GROUPS[k].atoms for k in group_types(letter)]
        assert set().union(*groups) == set(atoms), letter
        assert all(len(group) >= 3 for group in groups)
    slots = group_slots()
    for kind, group in enumerate(GROUPS):
        named = tuple(RESIDUE_ATOMS[group.letter][k] for k in slots[kind].tolist() if k >= 0)
        assert named == group.atoms
    with pytest.raises(ValueError, match="there is no residue 'B'"):
        group_types("B")


def test_flips_exchange_the_alike_atoms_of_four_residues_and_nothing_else():
    flips = group_flips()
    exchanged = {
        (group.letter, *sorted((group.atoms[k], group.atoms[j])))
        for group, row in zip(GROUPS, flips.tolist())
        for k, j in enumerate(row)
        if j != k
    }
    assert exchanged == {(letter, a, b) for letter, pairs in SYMMETRIC.items() for a, b in pairs}
    assert torch.equal(flips.gather(1, flips), torch.arange(flips.shape[1]).expand_as(flips))


def test_atoms_of_random_frames_give_these_frames_and_their_atoms_back():
    shapes, (kinds, residue) = templates(), chain_groups(LETTERS)
    true = frames(len(kinds))
    # Groups far apart: atoms that two of them share would be averaged.
    atoms = group_atoms(true, kinds, shapes)
    alone = [group_atoms(true[k : k + 1], kinds[k : k + 1], shapes) for k in range(len(kinds))]
    assert torch.equal(atoms, torch.cat(alone))
    mean, there = residue_positions(atoms, kinds, residue, len(LETTERS))
    slow = {}
    for g, (kind, k) in enumerate(zip(kinds.tolist(), residue.tolist())):
        for place, atom in enumerate(GROUPS[kind].atoms):
            slow.setdefault((k, RESIDUE_ATOMS[LETTERS[k]].index(atom)), []).append(atoms[g, place])
    assert {tuple(x) for x in there.nonzero().tolist()} == set(slow)
    for where, found in slow.items():
        assert torch.allclose(mean[where], torch.stack(found).mean(0))


def test_a_chain_made_of_the_templates_is_rebuilt_exactly():
    shapes, (kinds, residue) = templates(), chain_groups("GASW")
    rigid = frames(4)  # one motion for each residue: its groups agree where they overlap
    whole = chain("GASW")
    pos = {(k, a): p for k, a, p in zip(whole.residue.tolist(), whole.atom_names, whole.pos)}
    own = torch.zeros_like(shapes.positions)
    for kind, k in zip(kinds.tolist(), residue.tolist()):
        own[kind, : len(GROUPS[kind].atoms)] = torch.stack([pos[k, a] for a in GROUPS[kind].atoms])
    shapes = type(shapes)(own, shapes.seen)
    whole.pos = rigid[whole.residue].apply(whole.pos.unsqueeze(1)).squeeze(1)
    graph = coarse_grain(whole, shapes)
    assert bool(graph.known.all())
    assert torch.allclose(graph.rotation, rigid.rotation[residue], atol=1e-8)
    back = all_atoms(Frames(graph.rotation, graph.origin), "GASW", shapes)
    assert back.atom_names == whole.atom_names
    assert torch.equal(back.residue, whole.residue)
    assert torch.allclose(back.pos, whole.pos, atol=1e-8)


def test_groups_with_fewer_than_three_atoms_are_not_known_and_others_are_fitted_to_what_is_there():
    whole = chain("SK")
    gone = [(0, "OG"), (1, "O")]
    keep = [k for k, where in enumerate(zip(whole.residue.tolist(), whole.atom_names)) if where not in gone]
    part = Data(sequence="SK", pos=whole.pos[keep], residue=whole.residue[keep], seq_pos=whole.seq_pos[keep])
    part.atom_names = tuple(whole.atom_names[k] for k in keep)
    graph = coarse_grain(part, templates())
    assert graph.known.tolist() == [True, True, False, True, False, True, True]
    full = coarse_grain(whole, templates())
    assert torch.equal(graph.rotation[graph.known], full.rotation[graph.known])
    assert torch.equal(graph.origin[~graph.known], torch.zeros(2, 3, dtype=torch.float64))
    atoms = group_atoms(Frames(graph.rotation, graph.origin), graph.group_type, templates())
    there = residue_positions(atoms, graph.group_type, graph.residue, 2, graph.known)[1]
    assert there.sum() == len(whole.pos) - 2


def test_templates_are_the_mean_of_moved_and_shaken_groups():
    shapes, kinds = templates(), chain_groups(LETTERS)[0]
    chains = []
    for seed in range(40):
        whole = chain(LETTERS, seed)
        # One group after another, so that the last one of a residue is exact, in another frame each time.
        atoms = group_atoms(frames(len(kinds), seed), kinds, shapes)
        table = {}
        for g, (kind, k) in enumerate(zip(kinds.tolist(), chain_groups(LETTERS)[1].tolist())):
            table |= {(k, a): atoms[g, i] for i, a in enumerate(GROUPS[kind].atoms)}
        noise = 0.02 * torch.randn(len(whole.pos), 3, generator=torch.Generator().manual_seed(seed)).double()
        whole.pos = torch.stack([table[k, a] for k, a in zip(whole.residue.tolist(), whole.atom_names)]) + noise
        chains.append(whole)
    found = fit_templates(chains)
    assert found.seen.min() == 40
    for letter in LETTERS:
        kind = group_types(letter)[-1]
        count = len(GROUPS[kind].atoms)
        distances = torch.cdist(found.positions[kind, :count], found.positions[kind, :count])
        wanted = torch.cdist(shapes.positions[kind, :count], shapes.positions[kind, :count])
        assert torch.allclose(distances, wanted, atol=0.03), letter


def test_kinds_that_no_chain_has_come_from_others_or_are_named():
    whole = [chain(LETTERS.replace("X", ""))]
    assert fit_templates(whole).seen[list(group_types("X"))].tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"no chain has a complete group of W \(CG, CD1"):
        fit_templates([chain(LETTERS.replace("W", ""))])


@pytest.mark.parametrize(("letters", "place"), [("AB", 2), ("a", 1), ("A-", 2)])
def test_letters_that_are_no_residues_are_named_with_their_place(letters, place):
    with pytest.raises(ValueError, match=f"residue {place} is {letters[-1]!r}, expected one of ARNDC"):
        chain_groups(letters)


def test_frames_that_do_not_fit_a_sequence_and_other_data_are_refused():
    with pytest.raises(ValueError, match=r"'GA' has 4 groups, got frames of shape \(3, 3\)"):
        all_atoms(frames(3), "GA", templates())
    with pytest.raises(ValueError, match="a type and a residue for each of 3 groups, got 4 and 4"):
        residue_positions(torch.zeros(3, 9, 3), *chain_groups("GA"), 2)
    with pytest.raises(ValueError, match="got data without sequence, residue, atom_names"):
        coarse_grain(Data(pos=torch.zeros(3, 3)), templates())


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark data are not there")
def test_real_chains_are_rebuilt_with_templates_of_other_chains():
    def read(name):
        return read_protein_chains(DATA / f"protein_{name}.npz", atoms="heavy").chains

    train, test = split_chains(read("bm5_chains"), 30)
    shapes = fit_templates(train)
    everything = [*train, *test, *read("bm5_fv"), *read("designed_minibinders")]
    assert len(everything) == 130 + 48 + 30
    errors, groups = [], []
    for whole in everything:
        graph = coarse_grain(whole, shapes)
        atoms = group_atoms(Frames(graph.rotation, graph.origin), graph.group_type, shapes.to(graph.origin))
        pos, built = residue_positions(atoms, graph.group_type, graph.residue, len(whole.sequence), graph.known)
        true, there = residue_atoms(whole)
        errors.append((pos - true).norm(dim=-1)[there & built])
        off = (atoms - graph.pos_true).norm(dim=-1) * graph.true_mask
        groups.append(off.amax(1)[graph.known])
    assert float(torch.cat(errors).mean()) < 0.03
    assert float((torch.cat(groups) < 0.1).double().mean()) > 0.99
