"""Every golden file of the published architecture: outputs, features inside, gradients, weights in and out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pyg_equiformer import load_official, radius_graph, to_official_state_dict
from pyg_equiformer.checkpoints.numbering import ProductNumbers
from pyg_equiformer.nn import DepthwiseTensorProduct

from ..shared_data import MODELS, MODULES, assert_agree, assert_all_agree, golden
from .runs import Atoms, run_ours


def leaves(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs, those with a gradient as leaves."""
    real = {k for k, v in inputs.items() if isinstance(v, Tensor) and v.is_floating_point()}
    return {k: v.clone().requires_grad_() if k in real else v for k, v in inputs.items()}


def call(module: nn.Module, x: dict[str, Any]) -> Tensor:
    """Call one of our layers with the inputs of its published counterpart."""
    edges = (torch.stack([x["edge_src"], x["edge_dst"]]), x["edge_attr"], x["edge_scalars"]) if "edge_src" in x else ()
    if "node_attr" in x and edges:
        return module(x["node_input"], *edges)
    if edges:
        layer: Any = module
        return layer.layout_out.join(layer(*edges, num_nodes=len(x["batch"])))
    return module(*x.values())


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_in_outputs_features_and_gradients(name):
    data = golden(name)
    model = load_official(data)
    run = run_ours(model, Atoms(**data["inputs"], edge_index=data["edge_index"]))
    assert_all_agree(run.outputs, data["outputs"], "output")
    assert_all_agree(run.intermediates, data["intermediates"], "feature")
    expected = {"pos": data["grads"]["pos"], **data["grads"]["params"]}
    assert_all_agree({k: run.gradients[k] for k in expected}, expected, "gradient of")


@pytest.mark.parametrize("name", MODELS)
def test_the_neighbour_search_finds_the_published_edges(name):
    data = golden(name)
    x = data["inputs"]
    ours = radius_graph(x["pos"], data["ctor"]["max_radius"], x["batch"])
    assert set(map(tuple, ours.T.tolist())) == set(map(tuple, data["edge_index"].T.tolist()))
    assert ours.shape == data["edge_index"].shape


@pytest.mark.parametrize("name", MODULES)
def test_layers_agree_in_outputs_and_gradients(name):
    data = golden(name)
    module = load_official(data)
    inputs = leaves(data["inputs"])
    out = call(module, inputs)
    assert_agree(out, data["outputs"]["output"], "output")
    (out * data["grads"]["cotangent"]).sum().backward()
    for key, expected in data["grads"]["inputs"].items():
        if expected is not None:
            assert_agree(inputs[key].grad, expected, f"gradient of {key}")
    ours = {k: p.grad for k, p in module.named_parameters() if p.grad is not None}
    mapped = to_official_state_dict(module, ours)
    expected = data["grads"]["params"]
    assert_all_agree({k: mapped[k] for k in expected}, expected, "gradient of")


def test_the_depthwise_product_agrees_with_weights_in_published_order():
    data = golden("mod_dtp")
    ctor, inputs = data["ctor"], leaves(data["inputs"])
    product = DepthwiseTensorProduct(
        ctor["irreps_node_input"], irreps_sh=ctor["irreps_edge_attr"], irreps_filter=ctor["irreps_node_output"]
    )
    order = ProductNumbers(product.plan)
    assert str(order.outputs) == ctor["irreps_out"]
    weight = torch.empty_like(inputs["weight"]).index_copy(1, order.weights, inputs["weight"])
    ours = product.double()(inputs["x"], inputs["y"], weight)
    # Our output is the published one with channels of equal type in another order.
    published = [[c for ir, c in order.rows if ir == t] for t in product.plan.types]
    blocks = [b[..., torch.cat(c)] for b, c in zip(product.layout_out.split(ours), published)]
    out = product.layout_out.join(blocks)
    assert_agree(out, data["outputs"]["output"], "output")
    (out * data["grads"]["cotangent"]).sum().backward()
    for key, expected in data["grads"]["inputs"].items():
        assert_agree(inputs[key].grad, expected, f"gradient of {key}")


@pytest.mark.parametrize("name", MODELS + MODULES)
def test_weights_go_in_and_out_bit_for_bit(name):
    data = golden(name)
    back = to_official_state_dict(load_official(data))
    assert set(back) == set(data["state_dict"])
    for key, value in data["state_dict"].items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key], value), key


@pytest.mark.parametrize("name", MODELS)
def test_exported_weights_load_again_to_the_same_model(name):
    data = golden(name)
    first = load_official(data)
    second = load_official({**data, "state_dict": to_official_state_dict(first)})
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key
