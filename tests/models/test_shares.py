"""What each atom adds to an output of its graph: energies per atom."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Ensemble, Equiformer, PropertyModel
from pyg_equiformer.data import RadiusGraph

from .conftest import tiny

REFERENCES = {1: -13.0, 6: -1000.0, 8: -2000.0}


def batch(molecule):
    z, pos = molecule
    return Batch.from_data_list([Data(z=z, pos=pos), Data(z=z[:4], pos=1.1 * pos[:4]), Data(z=z[2:], pos=pos[2:])])


def summed(energies, data):
    return torch.zeros(data.num_graphs, dtype=energies.dtype).index_add(0, data.batch, energies)


@pytest.mark.parametrize("settings", [{}, {"head": "attention"}, {"output_scale": 3.0, "output_mean": 7.0}], ids=str)
@pytest.mark.parametrize("references", [None, REFERENCES], ids=["plain", "references"])
def test_energies_of_atoms_sum_to_that_of_their_graph_and_change_nothing(molecule, settings, references):
    potential = EnergyForces(tiny(**settings), energy_scale=2.0, energy_shift=-5.0, atomic_energies=references)
    data = batch(molecule)
    with torch.no_grad():
        plain, out = potential(data), potential(data, per_atom=True)
    assert set(plain) == {"energy", "forces"}
    assert all(torch.equal(plain[name], out[name]) for name in plain)
    assert out["energies"].shape == data.z.shape
    assert torch.allclose(summed(out["energies"], data), out["energy"], atol=1e-10, rtol=0)
    assert out["energies"][:9].std() > 1e-3


def test_an_atom_of_another_graph_changes_no_energy_of_an_atom(molecule):
    potential, (z, pos) = EnergyForces(tiny(), energy_shift=-5.0), molecule
    together = potential(batch(molecule), per_atom=True)["energies"]
    assert torch.allclose(together[:9], potential(z, pos, per_atom=True)["energies"], atol=1e-12, rtol=0)


def test_energies_of_atoms_have_gradients_where_they_are_wanted(molecule):
    z, pos = molecule
    potential = EnergyForces(tiny())
    potential(z, pos, per_atom=True)["energies"].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in potential.parameters() if p.grad is not None)
    assert potential.model.embed.weight.grad.abs().max() > 0
    with torch.inference_mode():
        assert not potential(z, pos, per_atom=True)["energies"].requires_grad


def test_stress_is_had_or_left_out_at_the_call(molecule):
    z, pos = molecule
    data = RadiusGraph(5.0)(Data(z=z, pos=pos, cell=12 * torch.eye(3).double()[None], pbc=torch.tensor([[True] * 3])))
    network = tiny()
    never, always = EnergyForces(network), EnergyForces(network, stress=True)
    want = always(data)["stress"]
    assert torch.equal(never(data, stress=True)["stress"], want)
    assert "stress" not in always(data, stress=False)
    assert "stress" not in never(data)
    committee = Ensemble([never, never])(data, stress=True, per_atom=True)
    assert torch.equal(committee["stress"], want)
    assert committee["energies_std"].abs().max() == 0
    with pytest.raises(ValueError, match="stress needs the cell"):
        never(z, pos, stress=True)


def test_shares_are_of_vectors_too_and_refused_where_atoms_have_outputs_of_their_own(molecule):
    z, pos = molecule
    out, shares = tiny(output="graph_vector", irreps_feature="8x0e+4x1e")(z, pos, return_shares=True)
    assert torch.allclose(shares.sum(0), out[0], atol=1e-12)
    with pytest.raises(ValueError, match="for outputs of graphs, got output='node_scalar'"):
        tiny(output="node_scalar")(z, pos, return_shares=True)
    members = [PropertyModel(Equiformer.from_preset("small", num_layers=1), ["gap"]) for _ in range(2)]
    with pytest.raises(ValueError, match="ensembles of EnergyForces, got members PropertyModel"):
        Ensemble(members)(z, pos.float(), per_atom=True)
