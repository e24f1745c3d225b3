"""The reference is right on its own: it reproduces the published architecture and its symmetries."""

from typing import Any

import e3nn
import pytest
import torch
from e3nn import o3
from torch import Tensor, nn

from pyg_equiformer import Equiformer, EquiformerConfig, radius_graph, to_official_state_dict
from pyg_equiformer.checkpoints import official_models
from pyg_equiformer.reference import (
    DepthwiseProduct,
    DotProductAttention,
    FeedForward,
    Gate,
    GraphAttention,
    Linear,
    RadialMLP,
    ReferenceEdgeDegree,
    ReferenceEquiformer,
    reference_basis,
    reference_norm,
    settings,
)
from pyg_equiformer.reference.attention import cut_heads, join_heads
from pyg_equiformer.reference.model import dense_radius_graph

from ..checkpoints.runs import Atoms, gradient, run_reference
from ..shared_data import MODELS, MODULES, assert_agree, assert_all_agree, golden

SMALL = {
    "irreps_node_embedding": "6x0e+4x1e+2x2e",
    "irreps_head": "3x0e+2x1e+1x2e",
    "num_heads": 2,
    "irreps_mlp_mid": "8x0e+4x1e+2x2e",
    "irreps_feature": "10x0e",
    "num_layers": 1,
    "number_of_basis": 8,
    "fc_neurons": [8, 8],
}
SMALL_E3 = {
    **SMALL,
    "irreps_node_embedding": "6x0e+4x0o+3x1e+2x1o",
    "irreps_head": "3x0e+2x0o+2x1e+1x1o",
    "irreps_mlp_mid": "8x0e+4x0o+3x1e+2x1o",
    "irreps_sh": "1x0e+1x1o+1x2e",
    "nonlinear_message": True,
}


@pytest.fixture(autouse=True, scope="module")
def _build_quickly():
    before = e3nn.get_optimization_defaults()["optimize_einsums"]
    e3nn.set_optimization_defaults(optimize_einsums=False)
    yield
    e3nn.set_optimization_defaults(optimize_einsums=before)


def build_layer(cls: str, ctor: dict[str, Any]) -> nn.Module:
    """Return the reference's counterpart of a published layer."""
    c = {k: v for k, v in ctor.items() if k != "irreps_node_attr"}
    kinds = {"V2": "layer", "Fast": "fast_layer", "GraphNorm": "graph", "InstanceNorm": "instance"}
    bases = {"GaussianRadialBasisLayer": "gaussian", "ExpNormalSmearing": "exp", "RadialBasis": "bessel"}
    name = cls.rsplit(".", 1)[-1]
    if name.startswith("Equivariant"):
        return reference_norm(next(kind for mark, kind in kinds.items() if name.endswith(mark)), c["irreps"])
    if name in bases:
        return reference_basis(bases[name], *[c[k] for k in c if k.startswith("num_")], cutoff=5.0)
    if name == "RadialProfile":
        return RadialMLP(c["ch_list"])
    if name == "FeedForwardNetwork":
        return FeedForward(c["irreps_node_input"], c["irreps_node_output"], c["irreps_mlp_mid"])
    if name == "EdgeDegreeEmbeddingNetwork":
        return ReferenceEdgeDegree(
            c["irreps_node_embedding"], c["irreps_edge_attr"], c["fc_neurons"], c["avg_aggregate_num"]
        )
    if name == "TensorProductRescale":
        irreps = (c["irreps_node_input"], c["irreps_edge_attr"], c["irreps_node_output"])
        return DepthwiseProduct(*irreps)
    kind = {"GraphAttention": GraphAttention, "DotProductAttention": DotProductAttention}[name]
    return kind(c.pop("irreps_node_input"), c.pop("irreps_edge_attr"), c.pop("irreps_node_output"), **c)


def call(module: nn.Module, x: dict[str, Any]) -> Tensor:
    edges = (torch.stack([x["edge_src"], x["edge_dst"]]), x["edge_attr"], x["edge_scalars"]) if "edge_src" in x else ()
    if isinstance(module, ReferenceEdgeDegree):
        return module(*edges, num_nodes=len(x["batch"]))
    if edges:
        return module(x["node_input"], *edges)
    if "node_input" in x and len(x) == 1:
        return module(x["node_input"], torch.zeros(len(x["node_input"]), dtype=torch.long))
    return module(*x.values())


@pytest.mark.parametrize("name", MODELS)
def test_golden_models_load_strictly_and_agree(name):
    data = golden(name)
    model = ReferenceEquiformer(data["cls"], data["ctor"], dtype=torch.float64).eval()
    model.load_state_dict(data["state_dict"])
    run = run_reference(model, Atoms(**data["inputs"], edge_index=data["edge_index"]))
    assert_all_agree(run.outputs, data["outputs"], "output")
    assert_all_agree(run.intermediates, data["intermediates"], "feature")
    assert_all_agree(run.gradients, {"pos": data["grads"]["pos"], **data["grads"]["params"]}, "gradient of")


@pytest.mark.parametrize("name", [*MODULES, "mod_dtp"])
def test_golden_layers_load_strictly_and_agree(name):
    data = golden(name)
    module = build_layer(data["cls"], data["ctor"]).double().eval()
    module.load_state_dict(data["state_dict"])
    grads, inputs = data["grads"], dict(data["inputs"])
    inputs |= {k: inputs[k].clone().requires_grad_() for k in grads["inputs"]}
    out = call(module, inputs)
    assert_agree(out, data["outputs"]["output"], "output")
    (out * grads["cotangent"]).sum().backward()
    for key, expected in grads["inputs"].items():
        if expected is not None:
            assert_agree(inputs[key].grad, expected, f"gradient of {key}")
    assert_all_agree({k: gradient(p) for k, p in module.named_parameters()}, grads["params"], "gradient of")


def test_defaults_and_elements_are_those_of_the_converter():
    converter = {**official_models._DEFAULTS, "fc_neurons": tuple(official_models._DEFAULTS["fc_neurons"])}
    assert converter == settings.DEFAULTS
    assert {k: v["elements"] for k, v in official_models.MODEL_CLASSES.items()} == {
        k: v.elements for k, v in settings.MODEL_CLASSES.items()
    }


@pytest.mark.parametrize("attention", ["mlp", "dot"])
@pytest.mark.parametrize("elements", [(1, 6, 7, 8, 9), tuple(range(64))])
def test_from_config_is_the_same_network(attention, elements):
    config = EquiformerConfig(
        irreps="6x0e+4x1e",
        irreps_sh="1x0e+1x1e",
        irreps_head="3x0e+2x1e",
        irreps_ffn="8x0e+4x1e",
        irreps_feature="10x0e",
        num_layers=1,
        heads=2,
        num_basis=8,
        radial_hidden=(8,),
        attention=attention,
        message="linear",
        elements=elements,
        output_scale=0.5,
        avg_num_nodes=7.0,
        avg_degree=5.0,
        rescale_degree=True,
    )
    ours = Equiformer(config).double().eval()
    reference = ReferenceEquiformer.from_config(config, dtype=torch.float64).eval()
    reference.load_state_dict(to_official_state_dict(ours))
    z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3, dtype=torch.float64)
    out = reference(z, pos)
    assert_agree(out[0] if isinstance(out, tuple) else out, ours(z, pos), "output")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"envelope": "polynomial"}, "envelope = 'none'"),
        ({"elements": (1, 8)}, "elements"),
        ({"attention": "dot"}, "message = 'linear' with attention='dot', got 'nonlinear'"),
        ({"num_outputs": 2}, "num_outputs = 1"),
        ({"attention": "dot", "message": "linear", "irreps_head": "2x0e+1x0o"}, r"only in the order 1x0o\+2x0e, got"),
        ({"output_mean": 1.0}, "output_mean"),
        ({"norm": "merged"}, "norm = 'layer' or .*, got 'merged'"),
        ({"norm_position": "sandwich"}, "norm_position = 'pre'"),
        ({"ffn_activation": "norm"}, "ffn_activation = 'gate'"),
        ({"ffn_norms": True}, "ffn_norms = False"),
    ],
)
def test_settings_without_a_published_counterpart_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        ReferenceEquiformer.from_config(EquiformerConfig().replace(**changes))


@pytest.mark.parametrize(
    ("cls", "ctor", "words"),
    [
        ("Transformer", {}, "unknown class 'Transformer'"),
        ("GraphAttentionTransformer", {"layers": 3}, "no constructor argument layers"),
        ("GraphAttentionTransformer", {"irreps_node_attr": "2x0e"}, "irreps_node_attr must be 1x0e"),
        ("GraphAttentionTransformer", {"irreps_feature": "8x0e+1x1e"}, "irreps_feature must hold 0e only"),
        ("GraphAttentionTransformer", {**SMALL, "norm_layer": "batch"}, "norm_layer must be None or one of"),
        ("GraphAttentionTransformer", {**SMALL, "basis_type": "cosine"}, "basis_type must be one of"),
    ],
)
def test_unknown_classes_and_arguments_are_refused(cls, ctor, words):
    with pytest.raises(ValueError, match=words):
        ReferenceEquiformer(cls, ctor)


def test_unknown_elements_are_refused():
    with pytest.raises(ValueError, match=r"expected atomic numbers among \(1, 6, 7, 8, 9\), got \[1, 16\]"):
        ReferenceEquiformer("GraphAttentionTransformer", SMALL)(torch.tensor([16, 1]), torch.randn(2, 3))


def test_float64_constants_are_exact_and_the_default_precision_is_restored():
    model = ReferenceEquiformer("GraphAttentionTransformer", SMALL, dtype=torch.float64)
    constants = [v for k, v in model.state_dict().items() if "_w3j_1_1_2" in k]
    assert torch.equal(constants[0], o3.wigner_3j(1, 1, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="norm_layer"):
        ReferenceEquiformer("GraphAttentionTransformer", {**SMALL, "norm_layer": "no"}, dtype=torch.float64)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("cls", ["GraphAttentionTransformerMD17", "DotProductAttentionTransformerMD17"])
def test_energy_is_invariant_and_forces_turn_with_the_molecule(cls):
    torch.manual_seed(0)
    base = SMALL if cls.startswith("Dot") else SMALL_E3
    model = ReferenceEquiformer(cls, base, dtype=torch.float64).eval()
    z, pos = torch.tensor([6, 8, 1, 1]), torch.randn(4, 3, dtype=torch.float64)
    turn = o3.rand_matrix(dtype=torch.float64) * (1 if cls.startswith("Dot") else -1)
    energy, forces = model(z, pos)
    turned_energy, turned_forces = model(z, pos @ turn.T + 1.0)
    assert torch.allclose(turned_energy, energy, rtol=1e-10, atol=1e-12)
    assert torch.allclose(turned_forces, forces @ turn.T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("irreps_head", "invariant"),
    [("2x0o+3x0e+1x1o+2x1e", True), ("2x0e+2x0o+1x1e+1x1o", True), ("3x0e+2x0o+2x1e+1x1o", False)],
)
def test_published_dot_product_heads_mix_parities_in_some_orders(irreps_head, invariant):
    torch.manual_seed(0)
    ctor = {**SMALL_E3, "irreps_head": irreps_head, "num_layers": 2}
    model = ReferenceEquiformer("DotProductAttentionTransformer", ctor, dtype=torch.float64).eval()
    z, pos = torch.tensor([6, 8, 7, 1, 9]), torch.randn(5, 3, dtype=torch.float64)
    turn = o3.rand_matrix(dtype=torch.float64)
    out = model(z, pos)
    assert torch.allclose(model(z, pos @ turn.T), out, rtol=1e-10, atol=1e-12)
    assert torch.allclose(model(z, -pos), out, rtol=1e-10, atol=1e-12) == invariant


def test_forces_carry_a_graph_only_where_gradients_are_wanted():
    model = ReferenceEquiformer("GraphAttentionTransformerMD17", SMALL)
    z, pos = torch.tensor([6, 8, 1]), torch.randn(3, 3)
    assert model(z, pos)[1].requires_grad
    with torch.no_grad():
        energy, forces = model(z, pos)
    assert not energy.requires_grad
    assert not forces.requires_grad


@pytest.mark.parametrize("name", ["alpha_drop", "proj_drop", "out_drop", "drop_path_rate"])
def test_each_dropout_acts_in_training_only(name):
    torch.manual_seed(0)
    drops = dict.fromkeys(("alpha_drop", "proj_drop", "out_drop", "drop_path_rate"), 0.0)
    model = ReferenceEquiformer("GraphAttentionTransformer", {**SMALL, **drops, name: 0.5})
    z, pos = torch.tensor([6, 8, 1, 1]), torch.randn(4, 3)
    assert len({model(z, pos).item() for _ in range(10)}) > 1
    model.eval()
    assert len({model(z, pos).item() for _ in range(3)}) == 1


def test_linear_maps_start_with_unit_variance_over_their_fan_in():
    torch.manual_seed(0)
    linear = Linear("40x0e+60x0e+100x1e", "200x0e+200x1e")
    for weight in linear.tp.weight_views():
        assert weight.detach().std().item() == pytest.approx(0.1, rel=0.03)
    assert not linear.bias[0].any()


def test_the_gate_multiplies_odd_scalars_too():
    gate = Gate("1x0e+1x0o")
    assert str(gate.irreps_in) == "2x0e+1x0o"
    out = gate(torch.tensor([[0.0, 0.0, 2.0]]))
    assert out[0].tolist() == pytest.approx([0.0, 1.8467055])


def test_joining_heads_undoes_cutting_them():
    irreps, x = o3.Irreps("2x0e+1x0o+2x1e"), torch.randn(5, 27)
    assert torch.equal(join_heads(cut_heads(x, irreps, 3), irreps), x)


def test_dense_neighbours_are_those_of_radius_graph():
    pos, batch = 4 * torch.rand(30, 3), torch.arange(30) // 12
    assert torch.equal(dense_radius_graph(pos, 2.0, batch), radius_graph(pos, 2.0, batch))
