"""Attention weights of whole models, and that nobody notices when they are looked at."""

import pytest
import torch

from pyg_equiformer import EnergyForces, Ensemble, PropertyModel
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.explain import attention_maps, recorded_attention
from pyg_equiformer.testing import random_rotation

from ..models.conftest import tiny
from .samples import molecules, periodic


def sums(maps) -> torch.Tensor:
    """Sum of the weights over the edges of each node, [L, N, …]."""
    alpha, target = maps.alpha, maps.edge_index[1]
    return alpha.new_zeros(len(alpha), int(target.max()) + 1, *alpha.shape[2:]).index_add(1, target, alpha)


def test_weights_of_every_layer_and_head_add_up_to_one_over_the_edges_of_each_atom():
    model, data = tiny(num_layers=2), molecules()
    maps = attention_maps(model, data)
    assert maps.names == ("blocks.0.attn", "blocks.1.attn")
    assert maps.alpha.shape == (2, maps.edge_index.shape[1], model.config.heads)
    assert torch.allclose(sums(maps), torch.ones_like(sums(maps)), atol=1e-12)
    assert float(maps.alpha.std()) > 1e-3
    assert not maps.alpha.requires_grad


def test_they_are_those_that_the_layers_use():
    model, data = tiny(num_layers=2), molecules()
    maps = attention_maps(model, data)
    from pyg_equiformer.explain.graph import ordered_inputs

    x, edges = model.encode(ordered_inputs(model, data))
    graphs = {"batch": data.batch, "num_graphs": data.num_graphs}
    for block, layer in zip(model.blocks, maps):
        _, (edge_index, alpha) = block.attn(block.norm_attn(x, **graphs), **edges, return_attention_weights=True)
        assert torch.equal(edge_index, maps.edge_index)
        assert torch.allclose(alpha, layer.alpha, atol=1e-13)
        x = block(x, **edges, **graphs)


def test_edges_stay_in_the_order_that_was_given():
    model, data = tiny(num_layers=1), molecules()
    maps = attention_maps(model, data)
    order = torch.randperm(maps.edge_index.shape[1], generator=torch.Generator().manual_seed(0))
    again = attention_maps(model, data.z, data.pos, data.batch, edge_index=maps.edge_index[:, order])
    assert torch.equal(again.edge_index, maps.edge_index[:, order])
    assert torch.allclose(again.alpha, maps.alpha[:, order], atol=1e-13)
    source, target = maps.edge_index
    assert torch.equal(maps.edge_vec, data.pos[source] - data.pos[target])


def test_weights_do_not_turn_with_the_molecule():
    model, data = tiny(num_layers=2), molecules()
    turned = data.clone()
    turned.pos = data.pos @ random_rotation(dtype=torch.float64).T + 3
    assert torch.allclose(attention_maps(model, turned).alpha, attention_maps(model, data).alpha, atol=1e-10)


def test_periodic_images_are_told_apart_by_their_vectors():
    model = tiny(num_layers=1)
    data = RadiusGraph(model.config.cutoff)(periodic())
    maps = attention_maps(model, data)
    assert bool((maps.edge_index[0] == maps.edge_index[1]).any())
    assert float(maps.edge_vec.norm(dim=1).min()) > 0.5
    assert float(maps.edge_vec.norm(dim=1).max()) < model.config.cutoff
    assert torch.allclose(sums(maps), torch.ones_like(sums(maps)), atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": "dot"},
        {"message": "nonlinear"},
        {"reversible": True, "num_layers": 3},
        {"head": "attention"},
        {"kv_heads": 1, "gate_heads": True},
    ],
    ids=str,
)
def test_every_kind_of_layer_is_seen_once(settings):
    maps = attention_maps(tiny(**{"num_layers": 2, **settings}), molecules())
    assert len(maps) == settings.get("num_layers", 2) + ("head" in settings)
    assert torch.allclose(sums(maps), torch.ones_like(sums(maps)), atol=1e-12)


def test_distance_attention_has_weights_for_each_type():
    maps = attention_maps(tiny(num_layers=1, attention="distance"), molecules())
    assert maps.alpha.dim() == 4
    assert torch.allclose(sums(maps), torch.ones_like(sums(maps)), atol=1e-12)
    (layer,) = maps
    assert layer.of_heads().shape == (maps.edge_index.shape[1], maps.alpha.shape[-1])


def test_what_an_atom_takes_from_itself_is_missing_from_the_sum():
    found = sums(attention_maps(tiny(num_layers=1, attend_self=True), molecules()))
    assert bool((found < 1).all())
    assert bool((found > 0).all())


def test_potentials_and_properties_are_looked_into_and_left_as_they_are():
    network, data = tiny(num_layers=1, attn_dropout=0.5), molecules()
    for model in (EnergyForces(network), PropertyModel(network, ["gap"])):
        model.train()
        before = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()]
        maps = attention_maps(model, data)
        assert torch.allclose(sums(maps), torch.ones_like(sums(maps)), atol=1e-12)
        assert all(m.training for m in model.modules())
        assert [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in model.modules()] == before
    with pytest.raises(ValueError, match=r"of an Ensemble, one of its \.models\), got Ensemble"):
        attention_maps(Ensemble([EnergyForces(network)]), data)


def test_a_model_gives_the_same_while_it_is_looked_at():
    model, data = EnergyForces(tiny(num_layers=2)), molecules()
    expected = model(data)
    with recorded_attention(model) as layers:
        found = model(data)
    assert [layer.name for layer in layers] == ["model.blocks.0.attn", "model.blocks.1.attn"]
    assert torch.allclose(found["energy"], expected["energy"], atol=1e-12)
    assert torch.allclose(found["forces"], expected["forces"], atol=1e-12)
    model(data)
    assert len(layers) == 2


def test_weights_that_the_caller_asked_for_are_still_given():
    conv = tiny(num_layers=1).blocks[0].attn
    edge_index = torch.tensor([[1, 0], [0, 1]])
    inputs = [torch.randn(n, d, dtype=torch.float64) for n, d in ((2, conv.irreps_in.dim), (2, conv.sh_dim))]
    inputs = [inputs[0], edge_index, inputs[1], torch.randn(2, conv.edge_dim, dtype=torch.float64)]
    with recorded_attention(conv) as layers:
        assert isinstance(conv(*inputs), torch.Tensor)
        _, (_, alpha) = conv(*inputs, return_attention_weights=True)
    assert len(layers) == 2
    assert torch.equal(layers[1].alpha, alpha)


def test_a_compiled_network_runs_uncompiled_meanwhile():
    model = tiny(num_layers=1)
    model.set_compile(True)
    with recorded_attention(model):
        assert not model.compile_blocks
    assert model.compile_blocks


def test_hooks_go_when_the_model_fails():
    model = tiny(num_layers=1)
    with pytest.raises(ValueError, match="pos must be finite"), recorded_attention(model):
        model(torch.tensor([1, 1]), torch.full((2, 3), float("nan"), dtype=torch.float64))
    assert not model.blocks[0].attn._forward_hooks


def test_folding_is_seen_block_by_block():
    from pyg_equiformer.folding import sequence_data

    from ..folding import samples, test_equifold

    model, data = test_equifold.model(), sequence_data("MKTAYWG")
    with torch.no_grad(), recorded_attention(model) as layers:
        model(data, samples.frames(data.num_nodes))
    assert len(layers) == test_equifold.SMALL["blocks"] * test_equifold.SMALL["layers"]
    for layer in layers:
        total = torch.zeros(data.num_nodes, layer.alpha.shape[1], dtype=torch.float64)
        total.index_add_(0, layer.edge_index[1], layer.alpha)
        assert torch.allclose(total, torch.ones_like(total), atol=1e-9)


def test_modules_without_attention_are_refused():
    with pytest.raises(ValueError, match="got Linear without any"), recorded_attention(torch.nn.Linear(1, 1)):
        pass
    with pytest.raises(ValueError, match=r"expected an Equiformer, EnergyForces or PropertyModel .*, got Linear"):
        attention_maps(torch.nn.Linear(1, 1), molecules())
