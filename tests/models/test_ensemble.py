"""Means and spreads of committees."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import EnergyForces, Ensemble, PropertyModel
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.models import prepare

from .conftest import tiny


def potentials(count: int = 3, **settings) -> list[EnergyForces]:
    members = [EnergyForces(tiny(num_layers=1, **settings), energy_shift=float(k)) for k in range(count)]
    for k, member in enumerate(members):
        with torch.no_grad():
            member.model.head.lin_out.types.weight["0e"].mul_(1 + k)
    return members


def test_mean_and_population_spread_of_the_members(molecule):
    z, pos = molecule
    members = potentials()
    data = Batch.from_data_list([Data(z=z, pos=pos), Data(z=z[:4], pos=pos[:4])])
    out = Ensemble(members)(data)
    assert set(out) == {"energy", "energy_std", "forces", "forces_std"}
    for name in ("energy", "forces"):
        each = torch.stack([member(data)[name] for member in members])
        assert torch.allclose(out[name], each.mean(0), atol=1e-12)
        assert torch.allclose(out[f"{name}_std"], each.std(0, correction=0), atol=1e-12)


def test_forces_are_the_gradient_of_the_mean_energy(molecule):
    z, pos = molecule
    pos = pos.clone().requires_grad_()
    out = Ensemble(potentials())(z, pos)
    (gradient,) = torch.autograd.grad(out["energy"].sum(), pos)
    assert torch.allclose(out["forces"], -gradient, atol=1e-11)


def test_neighbours_are_found_once(molecule, monkeypatch):
    calls = []

    def counting(*arguments):
        calls.append(arguments)
        return found(*arguments)

    found = prepare.radius_graph
    monkeypatch.setattr("pyg_equiformer.models.prepare.radius_graph", counting)
    Ensemble(potentials())(*molecule)
    assert len(calls) == 1


def test_properties_of_a_committee(molecule):
    members = [PropertyModel(tiny(num_outputs=2, num_layers=1), ["a", "b"], scale=s) for s in (1.0, 3.0)]
    out = Ensemble(members)(*molecule)
    net = members[0].model(*molecule)
    assert torch.allclose(out["b"], 2 * net[:, 1], atol=1e-12)
    assert torch.allclose(out["a_std"], net[:, 0].abs(), atol=1e-12)


def test_stress_has_a_spread_too():
    cell = {"cell": torch.eye(3, dtype=torch.float64)[None] * 3, "pbc": torch.ones(1, 3, dtype=torch.bool)}
    data = RadiusGraph(5.0)(Data(z=torch.tensor([6]), pos=torch.zeros(1, 3).double(), **cell))
    members = [EnergyForces(tiny(num_layers=1), energy_scale=s, stress=True) for s in (1.0, 3.0)]
    out = Ensemble(members)(data)
    assert torch.allclose(out["stress_std"], members[0](data)["stress"].abs(), atol=1e-12)


def test_a_spread_of_zero_passes_no_gradient(molecule):
    z, pos = molecule
    pos = pos.clone().requires_grad_()
    member = potentials(1)[0]
    Ensemble([member, member])(z, pos)["forces_std"].sum().backward()
    assert (pos.grad == 0).all()


def test_no_grad_and_evaluation_mode_reach_the_members(molecule):
    committee = Ensemble(potentials()).train()
    assert not committee.eval().models[1].training
    with torch.no_grad():
        assert not committee(*molecule)["forces"].requires_grad
    assert committee.config == committee.models[0].config


def refused() -> dict[str, tuple[list, str]]:
    first = potentials(1)
    return {
        "none": ([], "at least one model"),
        "a network": ([tiny()], "members must be EnergyForces or PropertyModel.*got Equiformer"),
        "cutoff": (first + potentials(1, cutoff=4.0), r"model 1 does not fit the first: cutoff: 4.0, not 5.0"),
        "stress": ([*first, EnergyForces(tiny(), stress=True)], "stress: True, not False"),
        "kinds": ([*first, PropertyModel(tiny(), ["energy"])], "kind: 'PropertyModel', not 'EnergyForces'"),
        "names": ([PropertyModel(tiny(), [n]) for n in "ab"], r"names: \('b',\), not \('a',\)"),
        "clash": ([PropertyModel(tiny(num_outputs=2), ["a", "a_std"])], "name of another property, a_std"),
    }


@pytest.mark.parametrize("case", ["none", "a network", "cutoff", "stress", "kinds", "names", "clash"])
def test_members_that_do_not_fit_are_refused(case):
    models, message = refused()[case]
    with pytest.raises(ValueError, match=message):
        Ensemble(models)
