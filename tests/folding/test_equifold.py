import pytest
import torch
from torch_geometric.data import Batch

from pyg_equiformer.folding import EquiFold, EquiFoldConfig, Frames, load_fold_model, save_fold_model, sequence_data
from pyg_equiformer.folding.config import fold_config
from pyg_equiformer.folding.frame_features import turn_matrix
from pyg_equiformer.folding.frame_update import frame_of
from pyg_equiformer.folding.predict import best_of, folded_chains
from pyg_equiformer.o3 import SphericalHarmonics
from pyg_equiformer.testing import random_rotation

from . import samples

SMALL = {"blocks": 2, "layers": 1, "irreps": "8x0e+8x1e", "num_basis": 4, "radial_hidden": (4,), "num_neighbors": 6}


def model(seed=0, **settings):
    torch.manual_seed(seed)
    return EquiFold.from_preset("small", samples.templates(), **{**SMALL, **settings}).double().eval()


def moved(frames, rotation, shift):
    return Frames(rotation @ frames.rotation, frames.origin @ rotation.T + shift)


@pytest.mark.parametrize(
    "settings", [{}, {"irreps": "8x0e+8x1e+4x2e"}, {"irreps": "8x0e"}, {"num_neighbors": None, "cutoff": 40.0}],
    ids=["vectors", "lmax2", "scalars", "cutoff"],
)  # fmt: skip
def test_predictions_turn_and_move_with_the_start_frames(settings):
    net, data = model(**settings), sequence_data("MKTAYWG")
    start = samples.frames(data.num_nodes)
    rotation, shift = random_rotation(dtype=torch.float64), torch.tensor([3.0, -40.0, 5.0], dtype=torch.float64)
    found, other = net(data, start), net(data, moved(start, rotation, shift))
    assert torch.allclose(other.pos, found.pos @ rotation.T + shift * found.there.unsqueeze(-1), atol=1e-8)
    expected = moved(found.frames, rotation, shift)
    assert torch.allclose(other.frames.rotation, expected.rotation, atol=1e-9)
    assert torch.allclose(other.frames.origin, expected.origin, atol=1e-8)
    assert torch.allclose(other.confidence, found.confidence, atol=1e-8)
    # It is not the start that comes out again, and not the same for every start.
    assert (found.frames.origin - start.origin).norm(dim=1).min() > 1e-3


def test_a_batch_is_what_its_proteins_are_alone_and_chains_know_of_each_other():
    net = model()
    parts = [sequence_data("MKTAY"), sequence_data([("H", "GAS"), ("L", "WG")]), sequence_data("GASWG")]
    starts = [samples.frames(part.num_nodes, seed) for seed, part in enumerate((parts[0], parts[1], parts[1]))]
    together = Frames(*(torch.cat([getattr(s, k) for s in starts]) for k in ("rotation", "origin")))
    found = net(Batch.from_data_list(parts), together)
    alone = [net(part, start) for part, start in zip(parts, starts)]
    assert torch.allclose(found.pos, torch.cat([each.pos for each in alone]), atol=1e-9)
    assert torch.allclose(found.confidence, torch.cat([each.confidence for each in alone]), atol=1e-9)
    # Two chains are another protein than one chain of the same letters.
    assert not torch.allclose(alone[1].pos, alone[2].pos, atol=1e-3)


def test_gradients_of_a_block_do_not_reach_the_frames_of_the_one_before_but_its_features():
    net, data = model(), sequence_data("MKT")
    folded = net(data, samples.frames(data.num_nodes))
    first = list(net.blocks[0].parameters())
    folded.trajectory[1].origin.square().sum().backward(retain_graph=True)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in first)
    # The update of the first block decides its frames alone.
    assert all(p.grad is None for p in net.blocks[0].update.parameters())
    folded.trajectory[0].origin.square().sum().backward()
    assert net.blocks[0].update.gates.weight.grad is not None


def test_every_weight_is_trained():
    net, data = model(), sequence_data("MKTAYWG")
    net.train()
    folded = net(data, samples.frames(data.num_nodes), recycles=1)
    total = sum(f.origin.square().sum() + (f.rotation**3).sum() for f in folded.trajectory) + folded.confidence.sum()
    total.backward()
    without = [name for name, p in net.named_parameters() if p.grad is None]
    # No edge leads from a group to itself: what is never asked for is told, not hidden.
    assert without == []


def test_black_hole_predictions_are_the_same_whoever_asks_and_random_ones_follow_their_generator():
    data = sequence_data("MKTA")
    still, random = model(start="black_hole"), model()
    assert torch.equal(still(data).pos, still(data).pos)
    assert still(data).pos.isfinite().all()
    seeded = [random(data, generator=torch.Generator().manual_seed(s)).pos for s in (1, 1, 2)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.allclose(seeded[0], seeded[2])


def test_recycling_starts_from_where_the_model_got_to():
    net, data = model(), sequence_data("MKTA")
    start = samples.frames(data.num_nodes)
    once, twice = net(data, start, recycles=0), net(data, start, recycles=1)
    assert not torch.allclose(once.pos, twice.pos)
    assert torch.equal(net(data, start).pos, once.pos)


def test_frames_stay_rotations_where_directions_vanish():
    zero, x = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    keep = random_rotation(dtype=torch.float64)[None]
    for first, second in ((zero, x), (x, zero), (x, 2 * x), (x, -x)):
        first.requires_grad_()
        found = frame_of(first, second, keep)
        assert torch.equal(found, keep)
        (gradient,) = torch.autograd.grad(found.sum() + 0 * first.sum(), first)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("l", [1, 2, 3])
def test_learned_features_turn_as_harmonics_do(l):
    harmonics = SphericalHarmonics("1x0e+1x1e+1x2e+1x3e").double()
    rotation = torch.stack([random_rotation(dtype=torch.float64) for _ in range(3)])
    points = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1)
    columns = slice(l * l, (l + 1) ** 2)
    expected = torch.stack([harmonics(points @ r.T)[:, columns] for r in rotation])
    found = harmonics(points)[:, columns] @ turn_matrix(rotation, l, harmonics).transpose(1, 2)
    assert torch.allclose(found, expected, atol=1e-10)


def test_a_saved_model_predicts_the_same(tmp_path):
    net, data = model(), sequence_data("MKTA")
    save_fold_model(tmp_path / "m.pt", net, note="x")
    again = load_fold_model(tmp_path / "m.pt")
    start = samples.frames(data.num_nodes)
    assert torch.equal(net(data, start).pos, again(data, start).pos)
    assert again.config == net.config
    torch.save({"x": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is no model of `fold train`"):
        load_fold_model(tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match=r"no model\.pt"):
        load_fold_model(tmp_path)


def test_the_most_confident_of_several_starts_is_kept():
    net, data = model(), sequence_data("MKTA")
    generator = torch.Generator().manual_seed(3)
    each = [net(data, net.start(data.num_nodes, generator)).confidence.mean() for _ in range(4)]
    assert best_of(net, data, starts=4, seed=3).confidence.mean() == max(each)


def test_chains_of_a_folded_complex_have_their_own_atoms():
    net, data = model(), sequence_data([("H", "MK"), ("L", "GAW")], "both")
    folded = best_of(net, data)
    chains = folded_chains(folded, data, net)
    assert [(c.chain, c.sequence, c.name) for c in chains] == [("H", "MK", "both_H"), ("L", "GAW", "both_L")]
    assert torch.allclose(torch.cat([c.pos for c in chains]), folded.pos[folded.there])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"irreps": "7x0e+8x1e"}, "must divide into 2 heads, 7"),
        ({"irreps": "8x0e+8x1o"}, "without parity"),
        ({"irreps": "8x1e"}, "needs scalars"),
        ({"irreps": "8x0e+8x2e"}, "needs vectors"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"num_neighbors": 0}, "num_neighbors must be at least 1"),
        ({"start": "truth"}, "start must be one of"),
        ({"spread": -1.0}, "spread must be positive"),
        ({"block": 3}, "did you mean blocks"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        EquiFoldConfig.from_dict(settings)


def test_the_published_sizes_have_names():
    names = {"equifold": (4, 32.0), "antibody": (6, 64.0)}
    for name, sizes in names.items():
        config = fold_config(name)
        assert (config.blocks, config.cutoff) == sizes
        assert (config.layers, config.irreps, config.heads) == (2, "64x0e+64x1e", 2)
    net = EquiFold.from_preset("antibody", samples.templates(), irreps="4x0e+4x1e")
    folded = net(sequence_data([("H", "GAS"), ("L", "WG")]))
    assert len(folded.trajectory) == 6
    assert bool(folded.pos.isfinite().all())


def test_inputs_that_do_not_fit_are_refused():
    net = model()
    with pytest.raises(ValueError, match="expected 6 start frames, got shape"):
        net(sequence_data("GAG"), samples.frames(5))
    with pytest.raises(ValueError, match="without group_type, group_place"):
        net(samples.chain())
    with pytest.raises(ValueError, match=r"no preset 'smal'.*did you mean small"):
        EquiFold.from_preset("smal", samples.templates())
