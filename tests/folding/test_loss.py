import pytest
import torch
from torch_geometric.data import Batch

from pyg_equiformer.folding import FoldLoss, Frames, fape, group_atoms, lddt, rename_symmetric, structural_violations
from pyg_equiformer.folding.coarse_grain import residue_positions
from pyg_equiformer.folding.confidence import BINS, confidence_loss, confidence_of, residue_lddt
from pyg_equiformer.folding.equifold import Folded
from pyg_equiformer.folding.graph import structure_data
from pyg_equiformer.folding.loss import true_ca

from . import samples

SHAPES = samples.templates()


def protein(letters, seed):
    """A protein whose atoms are exactly at the templates of random frames."""
    data = structure_data([samples.chain(letters, seed)], SHAPES, name="p")
    frames = samples.frames(data.num_nodes, seed)
    data.rotation, data.origin = frames.rotation, frames.origin
    data.pos_true = group_atoms(frames, data.group_type, SHAPES)
    return data


def folded(data, steps, logits=None):
    """What a model would give that moved the frames to these places."""
    residues = int(torch.as_tensor(data.num_residues).sum())
    atoms = group_atoms(steps[-1], data.group_type, SHAPES)
    residue = data.residue
    if "batch" in data:
        lengths = torch.as_tensor(data.num_residues)
        residue = residue + (lengths.cumsum(0) - lengths)[data.batch]
    pos, there = residue_positions(atoms, data.group_type, residue, residues)
    logits = torch.zeros(residues, BINS, dtype=torch.float64) if logits is None else logits
    return Folded(steps, atoms, pos, there, logits, residue)


def test_the_frame_error_is_the_mean_over_the_blocks_and_their_proteins():
    parts = [protein("GAST", 0), protein("KVW", 1)]
    batch = Batch.from_data_list(parts)
    steps = [samples.frames(batch.num_nodes, seed) for seed in (5, 6)]
    found = FoldLoss(clamp=30.0, violation_weight=0.0)(folded(batch, steps), batch, SHAPES)
    wanted, first = [], 0
    for part in parts:
        rows = slice(first, first + part.num_nodes)
        first += part.num_nodes
        for frames in steps:
            atoms = group_atoms(frames[rows], part.group_type, SHAPES)
            true = Frames(part.rotation, part.origin)
            wanted.append(fape(frames[rows], atoms, true, part.pos_true, part.true_mask, clamp=30.0))
    assert torch.allclose(found["fape"], torch.stack(wanted).mean(), atol=1e-12)
    assert torch.allclose(found["fape_last"], torch.stack(wanted[1::2]).mean(), atol=1e-12)
    assert float(found["loss"]) == pytest.approx(float(found["fape"] + 0.01 * found["confidence"]))


def test_the_truth_costs_the_floor_alone_wherever_it_lies_and_unknown_groups_count_for_nothing():
    data = protein("GASTKVW", 0)
    by = samples.frames(1, 9)
    loss = FoldLoss(violation_weight=0.0)
    steps = [samples.moved(Frames(data.rotation, data.origin), by)]
    found = loss(folded(data, steps), data, SHAPES)
    assert float(found["fape"]) == pytest.approx(1e-2 / 10, abs=1e-9)
    data.known[2:5] = False
    far = Frames(steps[0].rotation, steps[0].origin.clone())
    far.origin[2:5] += 50.0
    assert float(loss(folded(data, [far]), data, SHAPES)["fape"]) == pytest.approx(1e-3, abs=1e-9)


def test_the_local_weight_adds_the_error_of_groups_that_are_near_along_their_chain():
    second = samples.chain("AGS", 1)
    second.chain = "B"
    data = structure_data([samples.chain("GASTWGGASTWG", 0), second], SHAPES, name="p")
    data.true_mask[5], data.known[5] = False, False
    made = folded(data, [samples.frames(data.num_nodes, 3)])
    apart = (data.group_place[:, None] - data.group_place).abs()
    near = (apart <= 6) & (data.group_chain[:, None] == data.group_chain)
    assert not near.all()
    assert (near != (apart <= 6)).any()
    loss = FoldLoss(clamp=None, violation_weight=0.0, local_weight=3.0)
    everywhere = FoldLoss(clamp=None, violation_weight=0.0)(made, data, SHAPES)["fape"]
    true = Frames(data.rotation, data.origin)
    mask = data.known[:, None] & data.true_mask
    names = rename_symmetric(made.atoms, true, data.pos_true, mask, data.group_type, SHAPES.positions[data.group_type])
    local = fape(made.frames, made.atoms, *names, weight=near.double(), clamp=None)
    assert torch.allclose(loss(made, data, SHAPES)["fape"], (everywhere + 3 * local) / 4)


def test_violations_enter_with_their_weight_and_ramp():
    data = protein("GAS", 0)
    made = folded(data, [samples.frames(data.num_nodes, 3)])
    wrong = structural_violations(made.pos, made.there, data.sequence, data.seq_pos).loss
    assert wrong > 0
    loss = FoldLoss(violation_weight=0.5)
    with_half, without = (loss(made, data, SHAPES, ramp) for ramp in (0.5, 0.0))
    assert torch.allclose(with_half["violations"], wrong)
    assert torch.allclose(with_half["loss"] - without["loss"], 0.25 * wrong)


def test_lddt_of_residues_is_that_of_the_metrics():
    generator = torch.Generator().manual_seed(0)
    true = 6 * torch.randn(12, 3, generator=generator, dtype=torch.float64)
    pos = true + torch.randn(12, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(12, generator=generator) > 0.2
    found, rated = residue_lddt(pos, true, mask)
    full = torch.zeros(2, 12, 14, 3, dtype=torch.float64)
    full[0, :, 1], full[1, :, 1] = pos, true
    there = torch.zeros(12, 14, dtype=torch.bool)
    there[:, 1] = mask
    wanted = lddt(full[0], full[1], there, "A" * 12, atoms="CA").per_residue
    assert torch.equal(rated, ~wanted.isnan())
    assert torch.allclose(found[rated], wanted[rated].to(found))


def test_confidence_is_learnt_from_the_bin_of_the_lddt():
    lddt_, known = torch.tensor([0.0, 0.51, 1.0, 0.3]), torch.tensor([True, True, True, False])
    sure = torch.full((4, BINS), -50.0)
    sure[range(4), [0, 10, 19, 0]] = 50.0
    assert float(confidence_loss(sure, lddt_, known)) == pytest.approx(0.0, abs=1e-6)
    assert float(confidence_loss(torch.zeros(4, BINS), lddt_, known)) == pytest.approx(torch.tensor(20.0).log())
    assert confidence_of(sure).tolist() == pytest.approx([2.5, 52.5, 97.5, 2.5])


def test_the_second_atom_of_the_first_group_is_the_ca():
    chain = samples.chain("GAWX", 4)
    data = structure_data([chain], SHAPES)
    ca, known = true_ca(data)
    wanted = torch.stack([p for p, name in zip(chain.pos, chain.atom_names) if name == "CA"])
    assert known.all()
    assert torch.equal(ca, wanted)


@pytest.mark.parametrize(
    "wrong", [{"clamp": 0.0}, {"scale": -1.0}, {"violation_weight": -0.1}, {"confidence_weight": -1.0}]
)
def test_weights_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        FoldLoss(**wrong)
