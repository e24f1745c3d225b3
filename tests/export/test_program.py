"""The program of an exported model is the model, for any sizes, in PyTorch's own operators."""

from functools import lru_cache

import pytest
import torch

from pyg_equiformer import EnergyForces, Ensemble, PropertyModel, periodic_radius_graph, radius_graph
from pyg_equiformer.export import OUTPUTS, describe, make_program, trace

from .potentials import potential

#: Options that take other paths through the network.
OPTIONS = {
    "linear": {},
    "nonlinear": {"message": "nonlinear", "envelope": "none", "num_layers": 2, "norm": "graph"},
    "reversible": {"attention": "dot", "num_layers": 2, "reversible": True, "attend_self": True, "gate_heads": True},
    "distance": {
        "attention": "distance",
        "linear_attention_heads": 2,
        "norm_position": "sandwich",
        "head": "attention",
    },
}


@lru_cache
def traced(name):
    model = potential(atomic_energies={1: -13.6, 6: -1030.0, 8: -2041.3}, **OPTIONS[name])
    exported = trace(make_program(model))
    return model, exported


def structures(sizes, seed=0):
    """Molecules in one batch, with edges in no order."""
    generator = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    z = torch.tensor([1, 6, 8])[torch.randint(0, 3, (n,), generator=generator)]
    pos = 3.5 * torch.rand(n, 3, generator=generator, dtype=torch.float64)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    edges = radius_graph(pos, 5.0, batch)
    edges = edges[:, torch.randperm(edges.shape[1], generator=generator)]
    cell = torch.eye(3, dtype=torch.float64).repeat(len(sizes), 1, 1) * 7
    return z, pos, edges, pos.new_zeros(edges.shape[1], 3), cell, batch


def expected(model, z, pos, edges, shift, cell, batch):
    numbers = {name: getattr(model, name) for name in ("energy_scale", "energy_shift", "atomic_energies")}
    model = EnergyForces(model.model, **numbers, stress=True)
    with torch.no_grad():
        return model(z, pos, batch, edge_index=edges, edge_shift=shift, cell=cell)


def compare(outputs, wanted):
    for name, value in zip(OUTPUTS, outputs, strict=True):
        torch.testing.assert_close(value, wanted[name], rtol=1e-11, atol=1e-11, msg=lambda text: f"{name}: {text}")  # noqa: B023


@pytest.mark.parametrize(
    "name", ["linear", *(pytest.param(n, marks=pytest.mark.slow) for n in OPTIONS if n != "linear")]
)
def test_any_numbers_of_atoms_edges_and_structures_give_what_the_model_gives(name):
    model, exported = traced(name)
    for sizes in ([4, 3], [1], [1, 1, 1], [63], [7], [2, 9, 1, 5]):
        given = structures(sizes)
        compare(exported.module()(*given), expected(model, *given))


def test_structures_without_edges_have_the_energies_of_free_atoms():
    model, exported = traced("linear")
    z, pos, edges, shift, cell, batch = structures([2, 1])
    given = (z, pos, edges[:, :0], shift[:0], cell, batch)
    outputs = exported.module()(*given)
    compare(outputs, expected(model, *given))
    assert not outputs[1].any()


def test_crystals_with_cells_smaller_than_the_cutoff():
    model, exported = traced("linear")
    cell = torch.tensor([[3.1, 0.2, 0.0], [0.0, 3.4, 0.3], [0.5, 0.0, 3.0]], dtype=torch.float64)
    pos = torch.tensor([[0.1, 0.0, 0.2], [1.6, 1.5, 1.7]], dtype=torch.float64)
    edges, shift = periodic_radius_graph(pos, 5.0, cell, torch.tensor([True] * 3))
    given = (torch.tensor([6, 8]), pos, edges, shift, cell.unsqueeze(0), torch.zeros(2, dtype=torch.long))
    outputs = exported.module()(*given)
    compare(outputs, expected(model, *given))
    assert outputs[2].abs().max() > 1e-6


def test_molecules_have_no_stress_but_energy_and_forces():
    model, exported = traced("linear")
    z, pos, edges, shift, cell, batch = structures([5])
    energy, forces, stress = exported.module()(z, pos, edges, shift, torch.zeros_like(cell), batch)
    wanted = expected(model, z, pos, edges, shift, cell, batch)
    torch.testing.assert_close(energy, wanted["energy"])
    torch.testing.assert_close(forces, wanted["forces"])
    assert stress.isnan().all()


@pytest.mark.parametrize("z", [14, 7, 200, -1])
def test_only_the_structure_with_an_unknown_element_is_nan(z):
    model, exported = traced("linear")
    given = structures([3, 4])
    wanted = expected(model, *given)
    given[0][1] = z
    energy, forces, stress = exported.module()(*given)
    assert energy.isnan().tolist() == [True, False]
    assert forces[:3].isnan().all()
    assert stress[0].isnan().all()
    torch.testing.assert_close(forces[3:], wanted["forces"][3:])


def test_no_operator_of_this_package_and_no_size_is_in_the_program():
    _, exported = traced("linear")
    kinds = {node.target.namespace for node in exported.graph.nodes if hasattr(node.target, "namespace")}
    assert kinds == {"aten"}
    assert len(exported.range_constraints) == 4  # atoms, edges, structures, most edges of an atom


@pytest.mark.slow
def test_a_committee_gives_the_means_and_spreads_of_its_members():
    members = [potential(seed=seed) for seed in (0, 1, 2)]
    exported = trace(make_program(Ensemble(members), elements=[1, 6, 8]))
    given = structures([4, 3])
    outputs = exported.module()(*given)
    each = [expected(member, *given) for member in members]
    for k, name in enumerate(OUTPUTS):
        values = torch.stack([out[name] for out in each])
        torch.testing.assert_close(outputs[k], values.mean(0).to(outputs[k].dtype))
        torch.testing.assert_close(outputs[3 + k], values.std(0, correction=0).to(outputs[k].dtype))


def test_the_metadata_tell_all_that_a_caller_must_know():
    facts = describe(make_program(potential(atomic_energies={1: 0.0, 8: 0.0}), dtype="float32"))
    assert (facts["cutoff"], facts["elements"], facts["dtype"], facts["device"]) == ("5.0", "1 8", "float32", "cpu")
    assert facts["inputs"] == "z pos edge_index edge_shift cell batch"
    assert facts["outputs"] == "energy forces stress"
    assert all(isinstance(value, str) for value in facts.values())
    of_two = describe(make_program(Ensemble([potential(), potential(seed=1)])))
    assert of_two["outputs"] == "energy forces stress energy_std forces_std stress_std"


def test_making_a_program_leaves_the_model_as_it_was():
    model = potential().train()
    before = [p.clone() for p in model.parameters()]
    make_program(model, dtype="float32")
    assert model.training
    assert all(p.requires_grad and p.dtype == torch.float64 for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def test_what_cannot_be_exported_is_refused():
    network = potential().model
    with pytest.raises(ValueError, match=r"EnergyForces.*got PropertyModel"):
        make_program(PropertyModel(network, ["gap"]))
    with pytest.raises(ValueError, match="num_edge_types"):
        make_program(potential(num_edge_types=3))
    with pytest.raises(ValueError, match=r"got \[92\]"):
        make_program(potential(), elements=[1, 92])
    with pytest.raises(ValueError, match="got none"):
        make_program(potential(), elements=[])
    with pytest.raises(ValueError, match="float16"):
        make_program(potential(), dtype="float16")
