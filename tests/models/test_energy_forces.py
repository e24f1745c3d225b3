"""Energies and forces."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces

from .conftest import tiny


@pytest.mark.parametrize("preset", ["small", "qm9", "qm9_dot", "qm9_linear", "qm9_e3", "md17"])
def test_forces_are_the_finite_differences_of_the_energy(preset, molecule):
    z, pos = molecule
    potential = EnergyForces(tiny(preset), energy_scale=1e3, atomic_energies={1: -1.0, 6: -2.0, 8: -3.0})
    forces = potential(z, pos)["forces"].detach()
    h = 1e-4
    for atom, axis in [(0, 0), (2, 1), (8, 2)]:
        step = torch.zeros_like(pos)
        step[atom, axis] = h
        up, down = (potential(z, pos + s * step)["energy"].detach() for s in (1, -1))
        assert abs(float(forces[atom, axis] + (up - down) / (2 * h))) < 1e-6 * float(forces.abs().max())


def test_a_loss_on_forces_has_the_right_weight_gradient(molecule):
    z, pos = molecule
    potential = EnergyForces(tiny(num_layers=1))
    weight = potential.model.blocks[0].attn.lin_src.types.weight["0e"]

    def loss():
        return potential(z, pos)["forces"].square().sum()

    loss().backward()
    h, want = 1e-5, weight.grad[1, 2].clone()
    with torch.no_grad():
        weight[1, 2] += h
        up = loss()
        weight[1, 2] -= 2 * h
        down = loss()
    assert abs(float((up - down) / (2 * h) - want)) < 1e-6 * max(1, abs(float(want)))


def test_forces_sum_to_zero_and_exert_no_torque(molecule):
    z, pos = molecule
    forces = EnergyForces(tiny())(z, pos)["forces"]
    assert forces.sum(0).abs().max() < 1e-10
    assert torch.linalg.cross(pos, forces).sum(0).abs().max() < 1e-10


def test_no_grad_and_inference_mode_give_the_same_without_a_graph(molecule):
    potential = EnergyForces(tiny())
    want = potential(*molecule)
    assert want["forces"].requires_grad
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            z, pos = molecule
            out = potential(z, pos.clone())
        assert not out["forces"].requires_grad
        assert not out["energy"].requires_grad
        assert torch.allclose(out["forces"], want["forces"], atol=1e-12)


def test_batches_give_energies_per_graph(molecule):
    z, pos = molecule
    potential = EnergyForces(tiny(), atomic_energies={1: -1.0, 6: -2.0, 8: -3.0}, energy_shift=0.5)
    out = potential(Batch.from_data_list([Data(z=z, pos=pos), Data(z=z[:2], pos=pos[:2])]))
    one, two = potential(z, pos), potential(z[:2], pos[:2])
    assert torch.allclose(out["energy"], torch.cat([one["energy"], two["energy"]]), atol=1e-11)
    assert torch.allclose(out["forces"], torch.cat([one["forces"], two["forces"]]), atol=1e-11)


def test_large_reference_energies_do_not_round_away_the_model(molecule):
    z, pos = molecule
    network = tiny().float()
    plain = EnergyForces(network)(z, pos.float())["energy"]
    total = EnergyForces(network, energy_shift=-1e6)(z, pos.float())["energy"]
    assert total.dtype == torch.float64
    assert torch.allclose(total + 1e6, plain.double(), atol=1e-9)


def test_positions_that_need_gradients_get_them(molecule):
    z, pos = molecule
    pos = pos.clone().requires_grad_()
    EnergyForces(tiny())(z, pos)["forces"].square().sum().backward()
    assert pos.grad is not None
    assert pos.grad.abs().sum() > 0


def test_an_element_without_atomic_energy_is_named(molecule):
    with pytest.raises(ValueError, match=r"no atomic energy for Z = \[8\], only for \[1, 6\]"):
        EnergyForces(tiny(), atomic_energies={1: 0.0, 6: 0.0})(*molecule)


def test_only_a_graph_scalar_has_forces():
    with pytest.raises(ValueError, match="output='graph_scalar'"):
        EnergyForces(tiny(output="node_scalar"))


@pytest.mark.parametrize("preset", ["small", "qm9", "qm9_dot", "qm9_e3"])
def test_autocast_keeps_the_energy_in_full_precision_and_trains(preset, molecule, device):
    z, pos = molecule[0].to(device), molecule[1].float().to(device)
    potential = EnergyForces(tiny(preset).float().to(device))
    want = potential(z, pos)
    with torch.autocast(device, torch.bfloat16):
        out = potential(z, pos)
    assert out["energy"].dtype == torch.float32
    # The random forces here are small differences of large terms, of which bf16 keeps three digits.
    assert (out["forces"] - want["forces"]).abs().max() < 0.3 * want["forces"].abs().max()
    out["forces"].square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in potential.parameters() if p.grad is not None)
