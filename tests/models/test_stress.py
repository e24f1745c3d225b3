"""Stress of periodic structures."""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.models import energy_forces
from pyg_equiformer.testing import assert_forces_match_finite_differences, assert_model_equivariant

from .conftest import tiny
from .finite_stress import finite_stress

CUTOFF = 3.5


def crystal(strain: Tensor | None = None, repeat: int = 1) -> Data:
    """A sheared cell of three atoms, thinner than the cutoff, with one atom outside; perhaps deformed or repeated."""
    cell = torch.tensor([[3.1, 0.0, 0.2], [0.4, 3.4, 0.0], [-0.3, 0.5, 3.9]], dtype=torch.float64)
    pos = torch.tensor([[0.1, 0.2, 0.0], [1.7, 1.5, 2.1], [5.0, -1.0, 1.0]], dtype=torch.float64)
    pos = torch.cat([pos + k * cell[0] for k in range(repeat)])
    cell = cell * torch.tensor([[float(repeat)], [1.0], [1.0]], dtype=torch.float64)
    if strain is not None:
        pos, cell = pos + pos @ strain, cell + cell @ strain
    z = torch.tensor([11, 17, 8]).repeat(repeat)
    data = Data(z=z, pos=pos, cell=cell[None], pbc=torch.tensor([[True, True, True]]))
    return RadiusGraph(CUTOFF)(data)


def potential(preset: str = "small", **settings) -> EnergyForces:
    settings = {"cutoff": CUTOFF, "elements": (6, 8, 11, 17), "envelope": "polynomial", "num_layers": 1, **settings}
    return EnergyForces(tiny(preset, **settings), energy_scale=10.0, energy_shift=2.0, stress=True)


@pytest.mark.parametrize("preset", ["small", "qm9", "qm9_dot", "qm9_e3"])
def test_stress_is_the_finite_difference_of_the_energy_by_the_strain(preset):
    model = potential(preset)
    data = crystal()
    stress, volume = model(data)["stress"][0].detach(), float(torch.linalg.det(data.cell[0]))
    found = finite_stress(lambda strain: float(model(crystal(strain))["energy"].detach()), volume)
    assert stress.abs().max() > 1e-3
    assert (stress - found).abs().max() < 1e-6 * max(1.0, float(stress.abs().max()))


def test_forces_of_a_crystal_are_finite_differences_and_sum_to_zero():
    model, data = potential(), crystal()
    edges = {"edge_index": data.radius_edge_index, "edge_shift": data.radius_edge_shift, "cell": data.cell}
    assert_forces_match_finite_differences(model, data.z, data.pos, **edges)
    assert model(data)["forces"].sum(0).abs().max() < 1e-10


def test_a_supercell_has_the_same_stress_and_forces_and_twice_the_energy():
    model = potential(num_layers=2)
    one, two = model(crystal()), model(crystal(repeat=2))
    assert torch.allclose(two["stress"], one["stress"], atol=1e-12)
    assert torch.allclose(two["forces"], one["forces"].repeat(2, 1), atol=1e-11)
    assert torch.allclose(two["energy"] - 2.0, 2 * (one["energy"] - 2.0), atol=1e-10)


def test_a_loss_on_stress_has_the_right_weight_gradient():
    model, data = potential(), crystal()
    weight = model.model.blocks[0].attn.lin_src.types.weight["0e"]

    def loss():
        return model(data)["stress"].square().sum()

    loss().backward()
    h, want = 1e-5, weight.grad[1, 2].clone()
    with torch.no_grad():
        weight[1, 2] += h
        up = loss()
        weight[1, 2] -= 2 * h
        down = loss()
    assert abs(float(want)) > 1e-8
    assert abs(float((up - down) / (2 * h) - want)) < 1e-5 * abs(float(want))


@pytest.mark.parametrize("preset", ["small", "qm9_e3"])
def test_stress_turns_with_the_crystal(preset):
    assert_model_equivariant(potential(preset), crystal(), vectors=("pos", "cell", "radius_edge_shift"))


def test_a_batch_has_the_stress_of_its_crystals_and_none_for_a_molecule():
    model = potential()
    box = {"cell": torch.zeros(1, 3, 3, dtype=torch.float64), "pbc": torch.zeros(1, 3, dtype=torch.bool)}
    molecule = RadiusGraph(CUTOFF)(Data(z=torch.tensor([6, 8]), pos=torch.eye(3).double()[:2], **box))
    out = model(Batch.from_data_list([crystal(), molecule, crystal(repeat=2)]))
    alone = model(crystal())["stress"]
    assert torch.allclose(out["stress"][[0, 2]], alone.repeat(2, 1, 1), atol=1e-12)
    assert out["stress"][1].isnan().all()
    assert torch.allclose(out["forces"][:3], model(crystal())["forces"], atol=1e-12)
    out["stress"][[0, 2]].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_no_grad_and_inference_mode_give_the_same_without_a_graph():
    model = potential()
    want = model(crystal())["stress"]
    assert want.requires_grad
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            got = model(crystal())["stress"]
        assert not got.requires_grad
        assert torch.allclose(got, want, atol=1e-13)


def test_without_stress_nothing_is_strained(monkeypatch):
    def forbidden(*_):
        raise AssertionError("strained")

    monkeypatch.setattr(energy_forces, "with_strain", forbidden)
    model, data = potential(), crystal()
    with pytest.raises(AssertionError, match="strained"):
        model(data)
    assert set(EnergyForces(model.model)(data)) == {"energy", "forces"}


def test_stress_without_a_cell_or_with_another_number_of_cells_is_refused():
    model, data = potential(), crystal()
    with pytest.raises(ValueError, match=r"stress needs the cell.*stress=False"):
        model(torch.tensor([6, 8]), torch.eye(3).double()[:2])
    edges = {"edge_index": data.radius_edge_index, "edge_shift": data.radius_edge_shift}
    with pytest.raises(ValueError, match=r"cell must have shape \[1, 3, 3\], got \[3, 3\]"):
        model(data.z, data.pos, cell=data.cell[0], **edges)
    assert torch.equal(model(data.z, data.pos, cell=data.cell, **edges)["stress"], model(data)["stress"])
