"""Graphs without edges, coincident atoms and other degenerate inputs."""

import pytest
import torch

from pyg_equiformer import EnergyForces

from .conftest import tiny

CASES = {
    "one atom": ([6], [[0.0, 0.0, 0.0]]),
    "two atoms out of reach": ([6, 8], [[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]]),
    "an isolated atom": ([6, 8, 1], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [50.0, 0.0, 0.0]]),
    "coincident atoms": ([6, 8, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.5, 0.0]]),
    "all coincident": ([6, 8], [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]),
    "axes": ([6] + [1] * 6, [[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]),
    "tiny distance": ([6, 8], [[0.0, 0.0, 0.0], [1e-12, 0.0, 0.0]]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("basis", ["gaussian", "exp", "bessel"])
@pytest.mark.parametrize("preset", ["small", "qm9_dot", "qm9_e3"])
@pytest.mark.parametrize("case", CASES)
def test_energy_forces_and_second_derivatives_are_finite(case, preset, basis, dtype, device):
    z, pos = CASES[case]
    potential = EnergyForces(tiny(preset, basis=basis, elements=(1, 6, 8), num_layers=1).to(device, dtype))
    x = torch.tensor(pos, dtype=dtype, device=device, requires_grad=True)
    out = potential(torch.tensor(z, device=device), x)
    assert torch.isfinite(out["energy"]).all()
    assert torch.isfinite(out["forces"]).all()
    (out["energy"].sum() + out["forces"].square().sum()).backward()
    grads = [x.grad, *(p.grad for p in potential.parameters() if p.grad is not None)]
    assert all(torch.isfinite(g).all() for g in grads)


def test_coincident_atoms_have_no_direction(device):
    """Harmonics of l > 0 vanish there: turning the rest of the molecule turns the output."""
    model = tiny(output="node_vector", irreps_feature="16x0e+4x1e").to(device)
    pos = torch.zeros(2, 3, dtype=torch.float64, device=device)
    assert model(torch.tensor([6, 8], device=device), pos).abs().max() < 1e-12


def test_no_atoms_give_no_output():
    model = tiny()
    out = model(
        torch.zeros(0, dtype=torch.long), torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.long)
    )
    assert out.shape == (0, 1)


def test_a_molecule_far_from_the_origin_is_the_same(molecule):
    z, pos = molecule
    model = tiny()
    assert torch.allclose(model(z, pos + 1000.0), model(z, pos), atol=1e-9)


def test_a_hub_with_many_neighbours_takes_the_path_without_padding():
    """One atom with 60 neighbours, the others with one: the table would be mostly empty."""
    torch.manual_seed(0)
    model = tiny()
    hub = torch.stack([torch.arange(1, 61), torch.zeros(60, dtype=torch.long)])
    edges = torch.cat([hub, torch.tensor([[0], [1]])], dim=1)
    z, pos = torch.full((61,), 6), torch.randn(61, 3, dtype=torch.float64) * 2
    out = model(z, pos, edge_index=edges)
    order = torch.randperm(61)
    inverse = torch.argsort(order)
    assert torch.allclose(out, model(z, pos[order], edge_index=inverse[edges]), atol=1e-10)
