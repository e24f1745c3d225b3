"""Energies and forces in chunks of edges, which large structures take by themselves."""

import pytest
import torch
from torch_geometric.data import Batch

from pyg_equiformer import EnergyForces
from pyg_equiformer.conv import attention_parts, chunks
from pyg_equiformer.data import RadiusGraph

from .conftest import tiny
from .test_periodic import crystal


@pytest.fixture
def in_chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make everything large; returns the number of chunks of each layer that was computed so."""
    made: list[int] = []

    class Counting(chunks.TargetChunks):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            made.append(len(self))

    monkeypatch.setattr(attention_parts, "TargetChunks", Counting)
    monkeypatch.setitem(chunks.CHUNK_EDGES, "cpu", 30)
    return made


@pytest.mark.parametrize("preset", ["small", "qm9", "qm9_dot", "qm9_e3"])
@pytest.mark.parametrize("settings", [{}, {"head": "attention"}], ids=["mlp head", "attention head"])
def test_energy_forces_and_stress_of_a_batch_are_the_same_in_chunks(preset, settings, in_chunks):
    model = EnergyForces(tiny(preset, cutoff=3.5, elements=(8, 11, 17), **settings), stress=True)
    batch = Batch.from_data_list([crystal(), crystal(repeat=3)])
    want = model(batch)
    assert in_chunks == []
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            got = model(batch)
        assert len(in_chunks) >= 2
        assert min(in_chunks) > 1
        for name in ("energy", "forces", "stress"):
            assert not got[name].requires_grad
            assert torch.allclose(got[name], want[name], atol=1e-11)
        in_chunks.clear()


def test_molecules_with_edges_in_both_directions_are_the_same_in_chunks(molecule, in_chunks):
    model = EnergyForces(tiny())
    want = model(*molecule)
    with torch.no_grad():
        got = model(*molecule)
    assert min(in_chunks) > 1
    assert torch.allclose(got["forces"], want["forces"], atol=1e-11)


@pytest.mark.parametrize("checkpoint", ["tensor_product", "block"])
def test_checkpoints_and_chunks_go_together(checkpoint, in_chunks):
    model, data = EnergyForces(tiny(cutoff=3.5, elements=(8, 11, 17)), stress=True), crystal(repeat=2)
    want = model(data)
    model.model.set_checkpoint(checkpoint)
    with torch.no_grad():
        got = model(data)
    assert in_chunks
    assert torch.allclose(got["forces"], want["forces"], atol=1e-11)
    assert torch.allclose(got["stress"], want["stress"], atol=1e-12)


def test_a_loss_on_forces_and_stress_has_the_same_weight_gradients_with_recomputation_in_chunks(in_chunks):
    model, data = EnergyForces(tiny(cutoff=3.5, elements=(8, 11, 17)), stress=True), RadiusGraph(3.5)(crystal(repeat=2))
    found = []
    for checkpoint in ("none", "tensor_product"):
        model.model.set_checkpoint(checkpoint)
        model.zero_grad()
        out = model(data)
        (out["forces"].square().sum() + 100 * out["stress"].square().sum()).backward()
        # Where nothing depends on a weight, one says None and the other zero.
        found.append([torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()])
    assert in_chunks
    for got, want in zip(*found, strict=True):
        assert torch.allclose(got, want, atol=1e-9, rtol=1e-8)


@pytest.mark.parametrize("settings", [{}, {"reversible": True}], ids=str)
def test_energies_without_gradients_are_the_same_in_chunks(settings, in_chunks):
    model = tiny(cutoff=3.5, elements=(8, 11, 17), num_layers=3, **settings)
    data = Batch.from_data_list([crystal(), crystal(repeat=2)])
    want = model(data)
    assert in_chunks == []
    with torch.no_grad():
        got = model(data)
    assert len(in_chunks) == 3
    assert torch.allclose(got, want, atol=1e-11)


def test_models_stay_as_they_were_after_chunks(in_chunks):
    model, data = EnergyForces(tiny(cutoff=3.5, elements=(8, 11, 17))), crystal(repeat=2)
    with torch.no_grad():
        model(data)
    assert in_chunks
    assert all(p.requires_grad and isinstance(p, torch.nn.Parameter) for p in model.parameters())
    model(data)["energy"].sum().backward()
    assert any(p.grad is not None for p in model.parameters())
