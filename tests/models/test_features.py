"""What goes into and comes out of a network beside its output."""

import pytest
import torch

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.models.inputs import collect_inputs
from pyg_equiformer.o3 import Layout

from .conftest import tiny


def embedding(model, atoms, scale=1.0):
    generator = torch.Generator().manual_seed(3)
    layout = Layout(model.config.irreps)
    shapes = zip(layout.dims, layout.channels)
    return [scale * torch.randn(atoms, d, c, generator=generator, dtype=torch.float64) for d, c in shapes]


def test_an_embedding_is_added_to_the_first_features(molecule):
    z, pos = molecule
    model = tiny("qm9_e3")
    with_zero = model(z, pos, node_embedding=embedding(model, len(z), 0.0))
    assert torch.equal(with_zero, model(z, pos))
    # What is given counts like what the network makes of the atoms: twice the embedding, whoever gives it.
    first, _ = model.encode(collect_inputs(z, pos, None, None, None, None, model.config))
    out = model(z, pos, node_embedding=first)
    with torch.no_grad():
        for weight in (*model.embed.parameters(), *model.edge_degree.lin.parameters()):
            weight.mul_(2)
    assert torch.allclose(model(z, pos), out, atol=1e-10)


def test_features_are_what_the_head_takes(molecule):
    z, pos = molecule
    model = tiny()
    out, features = model(z, pos, return_features=True)
    assert torch.equal(out, model(z, pos))
    assert [tuple(b.shape) for b in features.nodes] == [(9, 1, 16)]
    again = model.head(features.nodes, **features.edges).sum(0) / model.config.avg_num_nodes**0.5
    assert torch.allclose(out[0], again, atol=1e-12)


def test_a_potential_passes_both_through_and_keeps_the_graph(molecule):
    z, pos = molecule
    model = EnergyForces(tiny())
    given = [b.requires_grad_() for b in embedding(model, len(z))]
    out = model(z, pos, node_embedding=given, return_features=True)
    assert (out["energy"] - model(z, pos)["energy"]).abs() > 1e-6
    (out["forces"].square().sum() + out["features"][0].square().sum()).backward()
    assert all(b.grad.abs().sum() > 0 for b in given)
    assert model.model.blocks[0].attn.lin_src.types.weight["0e"].grad.abs().sum() > 0
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            bare = model(z, pos, node_embedding=embedding(model, len(z)), return_features=True)
        assert torch.allclose(bare["forces"], out["forces"], atol=1e-12)
        assert not bare["features"][0].requires_grad
        assert not bare["edges"]["edge_sh"].requires_grad


def test_an_embedding_of_another_shape_is_refused(molecule):
    z, pos = molecule
    with pytest.raises(ValueError, match=r"one tensor \[N, 2l\+1, C\] per type of 8x0e\+4x1e\+2x2e"):
        tiny()(z, pos, node_embedding=[torch.zeros(9, 1, 8).double()])


def test_features_alone_take_every_input_and_are_those_beside_the_output():
    torch.manual_seed(0)
    model = Equiformer.from_preset(
        "small", num_layers=1, num_edge_types=2, num_positions=4, irreps_node="1x1e"
    ).double()
    z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 2, 1], [1, 0, 1, 2]])
    more = {
        "edge_type": torch.tensor([0, 1, 1, 0]),
        "node_position": torch.arange(3),
        "node_attr": torch.randn_like(pos),
    }
    _, beside = model.eval()(z, pos, edge_index=edges, return_features=True, **more)
    alone = model.features(z, pos, edge_index=edges, **more)
    assert all(torch.equal(a, b) for a, b in zip(alone.nodes, beside.nodes, strict=True))
    other = model.features(z, pos, edge_index=edges, **{**more, "edge_type": 1 - more["edge_type"]})
    assert not torch.allclose(other.nodes[0], alone.nodes[0])
