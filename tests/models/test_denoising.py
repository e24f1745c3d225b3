"""The denoising task: its equivariance, its gradients, what it refuses."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch_geometric.data import Batch, Data

from pyg_equiformer import Denoising
from pyg_equiformer.testing import assert_model_equivariant

from .conftest import tiny

PRESETS = ["small", "qm9", "qm9_dot", "qm9_linear", "qm9_e3", "md17"]


class Task(torch.nn.Module):
    """Network and denoising together, from data to noise."""

    def __init__(self, preset: str, **settings) -> None:
        super().__init__()
        self.network = tiny(preset, num_layers=1, **settings)
        self.denoising = Denoising(self.network.config, encode_forces=True).double().eval()

    def forward(self, data):
        embedding = self.denoising.embed(data.forces, data.moved)
        _, features = self.network(data, node_embedding=embedding, return_features=True)
        return self.denoising(features.nodes, features.edges)


def batch(molecule) -> Batch:
    z, pos = molecule
    torch.manual_seed(5)
    moved = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 1], dtype=torch.bool)
    one = Data(z=z, pos=pos, forces=torch.randn_like(pos), moved=moved)
    return Batch.from_data_list([one, Data(z=z[:4], pos=pos[:4], forces=torch.randn(4, 3).double(), moved=~moved[:4])])


@pytest.mark.parametrize("settings", [{}, {"irreps_feature": "16x0e+4x1e"}])
@pytest.mark.parametrize("preset", PRESETS)
def test_noise_turns_with_the_molecule_and_its_forces(preset, settings, molecule):
    if preset == "qm9_e3" and settings:
        settings = {"irreps_feature": "16x0e+4x0o+4x1o+2x1e"}
    task = Task(preset, **settings)
    data = batch(molecule)
    assert_model_equivariant(task, data, output="node_vector", vectors=("pos", "forces"))
    assert task(data).abs().max() > 1e-3  # vectors come out although the features are scalars


def test_forces_that_are_shown_change_the_noise_and_those_that_are_not_do_not(molecule):
    task, data = Task("small"), batch(molecule)
    want = task(data)
    hidden = data.clone()
    hidden.forces[~data.moved] = torch.nan
    assert torch.equal(task(hidden), want)
    shown = data.clone()
    shown.forces[data.moved] *= 1.1
    assert (task(shown) - want).abs().max() > 1e-6


def test_the_scalar_channels_of_an_embedding_follow_the_length_of_the_force():
    denoising = Denoising(tiny().config, encode_forces=True).double()
    forces = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    blocks = denoising.embed(forces, torch.tensor([True, True]))
    weight = denoising.lin.types.weight
    assert torch.allclose(blocks[0][0], 5 / 3**0.5 * weight["0e"])
    assert torch.allclose(blocks[1][0], forces[0].unsqueeze(1) * weight["1e"])
    assert all((block[1] == 0).all() for block in blocks)


def test_every_derivative_by_the_forces_is_right_and_finite_at_zero():
    denoising = Denoising(tiny("qm9_e3").config, encode_forces=True).double()
    mask = torch.tensor([True, True, False])
    forces = torch.tensor([[0.3, -1.0, 0.2], [1.0, 2.0, 0.5], [9.0, 1.0, 1.0]], dtype=torch.float64, requires_grad=True)

    def total(f):
        return torch.cat([b.flatten(1) for b in denoising.embed(f, mask)], dim=1)

    assert gradcheck(total, (forces,))
    assert gradgradcheck(total, (forces,))
    zero = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(total(zero).sin().sum(), zero, create_graph=True)
    (second,) = torch.autograd.grad((first * first.detach() + zero).sum(), zero)
    assert first.isfinite().all()
    assert second.isfinite().all()


def test_the_embedding_and_the_vector_path_of_the_attention_learn(molecule):
    task, data = Task("small"), batch(molecule)
    task(data).square().sum().backward()
    gradients = {n: p.grad for n, p in task.denoising.named_parameters() if p.grad is not None and p.grad.any()}
    needed = {f"lin.types.weight.{ir}" for ir in ("0e", "1e", "2e")}
    needed |= {"attn.lin_out.types.weight.1e", "attn.lin_value.types.weight.1e", "attn.lin_src.types.weight.0e"}
    assert needed <= set(gradients)


@pytest.mark.parametrize("part", ["irreps_sh", "irreps_head"])
def test_harmonics_or_heads_without_vectors_are_refused(part):
    value = {"irreps_sh": "1x0e+1x2e", "irreps_head": "4x0e"}[part]
    config = tiny().config.replace(**{part: value})
    with pytest.raises(ValueError, match=f"denoising needs 1e in {part}, got {value}".replace("+", r"\+")):
        Denoising(config, encode_forces=False)


def test_what_cannot_be_embedded_is_refused():
    with pytest.raises(ValueError, match="encode_forces=True"):
        Denoising(tiny().config, encode_forces=False).embed(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool))
    denoising = Denoising(tiny().config, encode_forces=True)
    with pytest.raises(ValueError, match=r"forces must have shape \[N, 3\], got \[2\]"):
        denoising.embed(torch.zeros(2), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask must hold 2 bools, got \[2\] of torch.int64"):
        denoising.embed(torch.zeros(2, 3), torch.ones(2, dtype=torch.long))
