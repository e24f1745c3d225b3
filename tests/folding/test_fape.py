import pytest
import torch

from pyg_equiformer.folding import Frames, coarse_grain, fape, fit_frames, group_atoms, rename_symmetric
from pyg_equiformer.folding.groups import GROUPS, group_flips
from pyg_equiformer.folding.templates import chain_groups, gather_groups, group_mask, residue_atoms

from .samples import LETTERS, chain, frames, moved, templates

KINDS, RESIDUE = chain_groups(LETTERS)
MASK = group_mask()[KINDS]
SHAPES = templates()


def structure(seed=0):
    found = frames(len(KINDS), seed)
    return found, group_atoms(found, KINDS, SHAPES)


def slow_fape(predicted, x, true, y, mask, clamp, scale, eps):
    total, count = 0.0, 0
    for u in range(len(x)):
        for v in range(len(x)):
            for a in range(x.shape[1]):
                if mask[v, a]:
                    local = predicted.rotation[u].T @ (x[v, a] - predicted.origin[u])
                    wanted = true.rotation[u].T @ (y[v, a] - true.origin[u])
                    total += min(float(((local - wanted).square().sum() + eps).sqrt()), clamp)
                    count += 1
    return total / count / scale


def test_the_error_is_that_of_loops_over_frames_and_atoms(monkeypatch):
    few = slice(0, 9)
    (a, x), (b, y) = structure(), structure(1)
    a, b, x, y, mask = a[few], b[few], x[few], y[few], MASK[few]
    wanted = slow_fape(a, x, b, y, mask, 10.0, 10.0, 1e-4)
    assert float(fape(a, x, b, y, mask)) == pytest.approx(wanted, rel=1e-9)
    assert float(fape(a, x, b, y, mask, clamp=None, scale=2.0, eps=0.5)) == pytest.approx(
        slow_fape(a, x, b, y, mask, float("inf"), 2.0, 0.5), rel=1e-9
    )
    monkeypatch.setattr("pyg_equiformer.folding.frame_error.CHUNK", 1)  # frame by frame
    assert float(fape(a, x, b, y, mask)) == pytest.approx(wanted, rel=1e-9)


def test_a_moved_copy_has_no_error_but_the_floor_and_motion_changes_nothing():
    (a, x), (b, y), (by,) = structure(), structure(1), (frames(1, 7),)
    copy = moved(a, Frames(by.rotation[0], by.origin[0]))
    atoms = group_atoms(copy, KINDS, SHAPES)
    assert float(fape(copy, atoms, a, x, MASK, eps=0.0)) < 1e-9
    assert float(fape(copy, atoms, a, x, MASK)) == pytest.approx(0.01 / 10, rel=1e-6)
    assert float(fape(copy, atoms, b, y, MASK)) == pytest.approx(float(fape(a, x, b, y, MASK)), rel=1e-9)


def test_one_displaced_atom_counts_once_for_each_frame():
    true, y = structure()
    x = y.clone()
    x[3, 0] += torch.tensor([0.0, 3.0, 4.0])
    wanted = 5.0 * len(KINDS) / (10.0 * len(KINDS) * int(MASK.sum()))
    assert float(fape(true, x, true, y, MASK, eps=0.0)) == pytest.approx(wanted)
    x[3, 0] += 100.0
    wanted = 10.0 * len(KINDS) / (10.0 * len(KINDS) * int(MASK.sum()))
    assert float(fape(true, x, true, y, MASK, eps=0.0)) == pytest.approx(wanted)  # clamped


def test_masks_and_weights_choose_frames_and_atoms():
    (a, x), (b, y) = structure(), structure(1)
    half = torch.arange(len(KINDS)) % 2 == 0
    weight = half.double()[:, None] * torch.ones(1, len(KINDS), dtype=torch.float64)
    by_frames = fape(a, x, b, y, MASK, frame_mask=half)
    assert float(by_frames) == pytest.approx(float(fape(a, x, b, y, MASK, weight=weight)), rel=1e-9)
    broken = y.clone()
    broken[~MASK] = float("nan")
    assert float(fape(a, x, b, broken, MASK)) == pytest.approx(float(fape(a, x, b, y, MASK)), rel=1e-9)
    assert float(fape(a, x, b, y, torch.zeros_like(MASK))) == 0.0


def test_gradients_are_those_of_differences_and_finite_at_zero():
    (a, x), (b, y) = structure(), structure(1)
    few, place = slice(0, 4), x[:4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: fape(a[few], p, b[few], y[few], MASK[few], clamp=None), place)
    same = y.clone().requires_grad_()
    fape(b, same, b, y, MASK).backward()
    assert bool(same.grad.isfinite().all())


def swapped(letter, first, second):
    """A chain of one residue, and the same with two atoms named the other way, as frames and atoms."""
    whole = chain(letter)
    names = list(whole.atom_names)
    a, b = names.index(first), names.index(second)
    other = whole.clone()
    order = list(range(len(names)))
    order[a], order[b] = b, a
    other.pos = whole.pos[order]
    return [coarse_grain(each, SHAPES) for each in (whole, other)]


def parts(graph):
    return Frames(graph.rotation, graph.origin), graph.pos_true, graph.true_mask


@pytest.mark.parametrize(("letter", "pairs"), [("D", "OD1 OD2"), ("E", "OE1 OE2"), ("F", "CD1 CD2 CE1 CE2")])
def test_a_half_turn_of_alike_atoms_is_no_error(letter, pairs):
    names = pairs.split()
    whole = chain(f"G{letter}A")
    index = {(r, a): k for k, (r, a) in enumerate(zip(whole.residue.tolist(), whole.atom_names))}
    order = list(range(len(whole.pos)))
    for a, b in zip(names[::2], names[1::2]):
        i, j = index[1, a], index[1, b]
        order[i], order[j] = j, i
    other = whole.clone()
    other.pos = whole.pos[order]
    (a, x, mask), (b, y, there) = (parts(coarse_grain(each, SHAPES)) for each in (whole, other))
    kinds = coarse_grain(whole, SHAPES).group_type
    assert float(fape(a, x, b, y, mask, eps=0.0)) > 1e-3
    renamed = rename_symmetric(x, b, y, there, kinds, SHAPES.positions[kinds])
    assert float(fape(a, x, renamed[0], renamed[1], renamed[2], eps=0.0)) < 1e-9
    kept = rename_symmetric(x, a, x, mask, kinds, SHAPES.positions[kinds])
    assert torch.equal(kept[1], x)


@pytest.mark.parametrize(("letter", "pair"), [("R", ("NH1", "NH2")), ("L", ("CD1", "CD2")), ("V", ("CG1", "CG2"))])
def test_other_exchanged_atoms_stay_errors(letter, pair):
    whole, other = swapped(letter, *pair)
    (a, x, _), (b, y, there) = parts(whole), parts(other)
    renamed = rename_symmetric(x, b, y, there, whole.group_type, SHAPES.positions[whole.group_type])
    assert torch.equal(renamed[1], y)
    assert float(fape(a, x, *renamed, eps=0.0)) > 1e-3


def slow_names(x, y, mask, flips):
    """True atoms with the better of the two names of each group, in loops over its atoms and all others."""
    fixed = [(g, a) for g in range(len(x)) for a in range(x.shape[1]) if mask[g, a] and flips[g, a] == a]
    out = y.clone()
    for g in range(len(x)):
        pairs = [(a, int(b)) for a, b in enumerate(flips[g]) if a != b and mask[g, a] and mask[g, b]]
        kept, turned = (
            sum(
                float(((x[g, a] - x[where]).norm() - (y[g, pair[named]] - y[where]).norm()).abs())
                for pair in pairs
                for a in pair[:1]
                for where in fixed
            )
            for named in (0, 1)
        )
        if turned < kept:
            out[g] = y[g, flips[g]]
    return out


@pytest.mark.parametrize("block", [2**22, 1])
def test_each_group_gets_the_names_that_loops_over_all_distances_choose(monkeypatch, block):
    monkeypatch.setattr("pyg_equiformer.folding.frame_error.CHUNK", block)
    kinds = chain_groups("DEFYGDEFY")[0]
    mask, shapes = group_mask()[kinds], SHAPES.positions[kinds]
    mask[torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)) < 0.05] = False
    changed = set()
    for seed in range(5):
        true = frames(len(kinds), seed)
        y = group_atoms(true, kinds, SHAPES)
        x = y + 3 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).double()
        renamed = rename_symmetric(x, true, y, mask, kinds, shapes)
        wanted = slow_names(x, y, mask, group_flips()[kinds])
        assert torch.equal(renamed[1], wanted)
        changed |= set((wanted != y).any(-1).any(-1).nonzero().flatten().tolist())
    assert len(changed) > 3


def test_shapes_and_numbers_that_do_not_fit_are_refused():
    a, x = structure()
    with pytest.raises(ValueError, match=r"expected true_atoms of shape \(\d+, 9, 3\), got"):
        fape(a, x, a, x[1:], MASK)
    with pytest.raises(ValueError, match="expected positive scale and clamp"):
        fape(a, x, a, x, MASK, scale=0.0)
    with pytest.raises(ValueError, match=r"expected predicted_atoms of shape \(\d+, 9, 3\), got"):
        rename_symmetric(x[1:], a, x, MASK, KINDS, SHAPES.positions[KINDS])
    with pytest.raises(ValueError, match=rf"expected a type for each of {len(x)} groups and shapes \[{len(x)}, 9, 3\]"):
        rename_symmetric(x, a, x, MASK, KINDS, SHAPES.positions[1:])


def test_frames_of_complete_groups_are_those_of_their_atoms():
    whole = chain()
    pos, there = gather_groups(*residue_atoms(whole), KINDS, RESIDUE)
    graph, found = coarse_grain(whole, SHAPES), fit_frames(SHAPES.positions[KINDS], pos, there)
    assert torch.equal(graph.rotation, found.rotation)
    assert all(len(GROUPS[k].atoms) == int(n) for k, n in zip(KINDS.tolist(), there.sum(1)))
