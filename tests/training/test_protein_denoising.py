import dataclasses

import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer import load_model, save_model
from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.training.protein_denoising import (
    ProteinDenoisingConfig,
    add_noise,
    denoise_chains,
    displacement,
    train_denoiser,
)
from pyg_equiformer.training.protein_report import plot_denoising, summary
from tests.data.protein_texts import chain

pytest.importorskip("biotite")

TINY = ProteinDenoisingConfig(layers=1, irreps="8x0e+4x1e", heads=2, epochs=1, max_time=None)


@pytest.fixture
def chains(tmp_path):
    (tmp_path / "a.pdb").write_text(chain("AGSAGS"))
    (tmp_path / "b.pdb").write_text(chain("GGGG"))
    return read_protein_chains(tmp_path).chains


def made(residues):
    """A chain on a random walk."""
    generator = torch.Generator().manual_seed(residues)
    steps = torch.randn(3 * residues, 3, generator=generator)
    residue = torch.arange(residues).repeat_interleave(3)
    return Data(
        pos=(1.5 * steps / steps.norm(dim=1, keepdim=True)).cumsum(0),
        atom_type=torch.arange(3).repeat(residues),
        residue=residue,
        seq_pos=residue,
    )


def test_noise_has_the_spread_asked_for_and_leaves_the_chain_alone():
    data = made(1000)
    before = data.pos.clone()
    moved = add_noise(data, 0.5, 5.0, torch.Generator().manual_seed(0))
    assert torch.equal(data.pos, before)
    assert torch.equal(moved.clean, before)
    assert (moved.pos - before).std().item() == pytest.approx(0.5, rel=0.05)
    source, target = moved.edge_index
    further = (moved.pos[source] - moved.pos[target]).norm(dim=1) >= 5.0
    assert torch.all((moved.seq_pos[source] - moved.seq_pos[target]).abs()[further] <= 1)


@pytest.mark.parametrize("attention", ["mlp", "dot"])
def test_the_displacement_turns_with_the_chain(attention):
    torch.manual_seed(0)
    model = dataclasses.replace(TINY, attention=attention).network().double()
    graph = add_noise(made(6).update({"pos": made(6).pos.double()}), 1.0, 6.0, torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    rotation *= torch.det(rotation)
    turned = graph.clone()
    turned.pos = graph.pos @ rotation.T + 7.0
    expected = displacement(model, graph)
    assert float(expected.detach().abs().max()) > 1e-3
    torch.testing.assert_close(displacement(model, turned), expected @ rotation.T, rtol=1e-9, atol=1e-9)


def test_training_brings_atoms_nearer_to_their_places(chains):
    config = dataclasses.replace(TINY, noise=0.3, epochs=60, irreps="16x0e+8x1e", learning_rate=1e-2)
    told = []
    model = train_denoiser(chains, config, report=lambda *values: told.append(values))
    assert [t[0] for t in told] == list(range(1, 61))
    assert told[-1][1] == 120
    results = list(denoise_chains(model, chains, 0.3, seed=5))
    found = summary(results)
    assert found["rmsd_after"]["value"] < 0.75 * found["rmsd_before"]["value"]
    assert [c["residues"] for c in found["chains"]] == [6, 4]


def test_a_seed_gives_the_same_weights_and_noise(chains):
    first, second = (train_denoiser(chains, TINY) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters()):
        assert torch.equal(a, b)
    one, two = (list(denoise_chains(first, chains, 1.0, seed=3)) for _ in range(2))
    assert all(torch.equal(a.denoised, b.denoised) for a, b in zip(one, two))
    other = next(denoise_chains(first, chains, 1.0, seed=4))
    assert not torch.equal(other.noisy, one[0].noisy)


def test_rmsd_is_that_of_its_definition(chains):
    result = next(denoise_chains(TINY.network(), chains, 1.0))
    expected = ((result.noisy - chains[0].pos) ** 2).sum(1).mean() ** 0.5
    assert result.rmsd_before == pytest.approx(float(expected))


def test_a_saved_network_gives_the_same_displacements(chains, tmp_path):
    model = train_denoiser(chains, TINY)
    save_model(tmp_path / "model.pt", model)
    again = load_model(tmp_path / "model.pt")
    a, b = (next(denoise_chains(m, chains, 1.0)).denoised for m in (model, again))
    assert torch.equal(a, b)


def test_the_time_limit_ends_the_training_after_a_step(chains):
    told = []
    config = dataclasses.replace(TINY, epochs=None, max_time=1e-6)
    train_denoiser(chains, config, report=lambda *values: told.append(values))
    assert [t[:2] for t in told] == [(1, 1)]


def test_a_request_to_stop_ends_the_training_after_the_step_under_way(chains):
    told = []
    config = dataclasses.replace(TINY, epochs=50)
    train_denoiser(chains, config, report=lambda *values: told.append(values), stop=lambda: len(told) == 2)
    assert [t[:2] for t in told] == [(1, 2), (2, 4), (3, 5)]


def test_several_chains_make_a_step(chains):
    told = []
    config = dataclasses.replace(TINY, epochs=2, batch_size=2)
    train_denoiser(chains, config, report=lambda *values: told.append(values))
    assert [t[1] for t in told] == [1, 2]


def test_a_chain_of_a_thousand_residues_runs():
    result = next(denoise_chains(TINY.network(), [made(1000)], 1.0))
    assert result.denoised.shape == (3000, 3)
    assert bool(result.denoised.isfinite().all())


def test_settings_out_of_range_are_refused(chains):
    for change, message in [
        ({"noise": 0.0}, "noise must be positive"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": None}, "expected one of them"),
        ({"attention": "none"}, "attention must be one of"),
        ({"irreps": "8x0e"}, "1e"),
        ({"atoms": "all"}, "'backbone' .* got 'all'"),
    ]:
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(TINY, **change).network()
    with pytest.raises(ValueError, match="got none"):
        train_denoiser([], TINY)


def test_the_figure_is_drawn(chains, tmp_path):
    pytest.importorskip("matplotlib")
    plot_denoising(tmp_path / "a.png", list(denoise_chains(TINY.network(), chains, 1.0)))
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
