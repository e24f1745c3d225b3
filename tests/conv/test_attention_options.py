"""Attention by distance, shared keys, a target's own key, gates of heads, global linear attention."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyg_equiformer import EquiformerConv
from pyg_equiformer.kernels import pair_matrices
from pyg_equiformer.nn import LinearAttention
from pyg_equiformer.o3 import Layout
from pyg_equiformer.testing import assert_equivariant

from .samples import Graph, edge_weights, every_device, every_group, make_conv, make_graph
from .samples import map_product as mapped

OPTIONS: dict[str, dict[str, Any]] = {
    "distance": {"attention": "distance"},
    "distance, scalars by dot product": {"attention": "distance", "scalar_score": "dot"},
    "distance, all": {"attention": "distance", "kv_heads": 1, "attend_self": True, "gate_heads": True},
    "mlp, one key": {"attention": "mlp", "kv_heads": 1},
    "dot, one key": {"attention": "dot", "kv_heads": 1},
    "mlp, self": {"attention": "mlp", "attend_self": True},
    "dot, self": {"attention": "dot", "attend_self": True},
    "dot, all": {
        "attention": "dot",
        "kv_heads": 2,
        "heads": 4,
        "irreps_head": "2x0e+1x1e",
        "attend_self": True,
        "gate_heads": True,
    },
    "gate": {"attention": "mlp", "gate_heads": True},
    "linear": {"attention": "mlp", "linear_attention_heads": 3},
}
every_option = pytest.mark.parametrize("option", OPTIONS)
every_message = pytest.mark.parametrize("message", ["nonlinear", "linear"])


def scores_of(conv: EquiformerConv, q: list[Tensor], k: list[Tensor]) -> Tensor:
    """Scores [types, heads] of one query [d, heads · C] and one key [d, kv_heads · C] per type, from the equations."""
    kind, heads, group = conv.attention, conv.heads, conv.heads // conv.kv_heads
    layout = Layout(conv.irreps_head)
    out = torch.zeros(len(layout.types), heads, dtype=torch.float64)
    for h in range(heads):
        for t, (d, c) in enumerate(zip(layout.dims, layout.channels)):
            own = k[t][:, (h // group) * c : (h // group + 1) * c]
            if kind == "mlp":
                hidden = own[0]
                smooth = hidden * (0.2 + 0.8 * torch.sigmoid(hidden)) * 1.531320475574866
                return_value = (smooth * conv.score.vector[h]).sum()
                out[:, h] = return_value
                break
            mine = q[t][:, h * c : (h + 1) * c]
            if kind == "dot":
                out[:, h] += (mine * own).sum() / (d * sum(layout.channels)) ** 0.5
            elif conv.score.dots[t]:
                out[t, h] = (mine * own).sum() / c**0.5
            else:
                out[t, h] = -sum((((mine - own)[:, n] ** 2).sum() + 1e-6) ** 0.5 for n in range(c)) / c**0.5
    return out


def one_by_one(conv: EquiformerConv, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
    """The equations with loops over targets, heads, types and keys."""
    x, (source, target), sh, attr = graph
    plan, nodes = conv.product.plan, conv.layout_in.split(x)
    message = conv.lin_src(x)[source] + conv.lin_dst(x)[target]
    weight = conv.radial(attr)
    parts = conv.product.pairs(plan.layout_in.split(message), pair_matrices(plan, conv.product.matrices(sh)), weight)
    keys, product = conv.score.keys(parts), conv.product(message, sh, weight)
    if conv.gate is None:
        value = mapped(conv.lin_value, conv.product, product)
    else:
        hidden = conv.gate(mapped(conv.lin_gate, conv.product, product))
        value = conv.value_product(hidden, sh, conv.value_weight.expand(len(sh), -1))
        value = mapped(conv.lin_value, conv.value_product, value)
    values = Layout(conv.lin_value.irreps_out).split(value)
    query = conv.score.query.blocks(nodes) if conv.attention != "mlp" else None
    if conv.lin_self is not None:
        own_keys = (conv.score.lin_self if query is None else conv.score.key_self).blocks(nodes)
        own_values = conv.lin_self.blocks(nodes)
    u = torch.ones(len(sh), dtype=x.dtype) if edge_weight is None else edge_weight
    layout = Layout(conv.irreps_head)
    sums = [torch.zeros(len(x), d, conv.heads * c, dtype=x.dtype) for d, c in zip(layout.dims, layout.channels)]
    for i in range(len(x)):
        q = [] if query is None else [b[i] for b in query]
        edges = (target == i).nonzero().flatten().tolist()
        entries = [(float(u[e]), [k[e] for k in keys], [v[e] for v in values]) for e in edges]
        if conv.lin_self is not None:
            entries.append((1.0, [k[i] for k in own_keys], [v[i] for v in own_values]))
        if not entries:
            continue
        exps = torch.stack([w * scores_of(conv, q, k).exp() for w, k, _ in entries])
        alpha = exps / exps.sum(0)
        for (w, _, v), a in zip(entries, alpha):
            for h, (t, c) in itertools.product(range(conv.heads), enumerate(layout.channels)):
                g = h * conv.kv_heads // conv.heads
                sums[t][i, :, h * c : (h + 1) * c] += a[t, h] * w * v[t][:, g * c : (g + 1) * c]
    if conv.head_gate is not None:
        for i, h in itertools.product(range(len(x)), range(conv.heads)):
            gate = torch.sigmoid(nodes[0][i, 0] @ conv.head_gate.lin.weight[h] + conv.head_gate.lin.bias[h])
            for s, c in zip(sums, layout.channels):
                s[i, :, h * c : (h + 1) * c] *= gate
    out = conv.lin_out.blocks(sums)
    if conv.linear_attention is not None:
        out[0] = out[0] + conv.linear_attention(nodes)
    return conv.layout_out.join(out)


@every_option
@every_message
@every_group
@every_device
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_equations_one_by_one(option: str, message: str, group: str, device: str, weighted: bool) -> None:
    heads = {"irreps_head": "2x0e+1x1e+1x2e"} if group == "SE(3)" else {"irreps_head": "2x0e+1x0o+1x1e+1x1o"}
    conv = make_conv(group, message=message, **{**OPTIONS[option], **heads})
    graph = make_graph(conv)
    u = edge_weights(14) if weighted else None
    with torch.no_grad():
        expected = one_by_one(conv, graph, u).to(device)
    on_device = Graph(*(t.to(device) for t in graph))
    out = conv.to(device)(*on_device, edge_weight=None if u is None else u.to(device))
    assert torch.allclose(out, expected, rtol=0, atol=1e-11)


@every_option
@every_message
def test_the_fused_path_equals_the_sum_of_messages(option: str, message: str) -> None:
    conv = make_conv(message=message, **OPTIONS[option])
    graph = make_graph(conv)
    fused = conv(*graph, edge_weight=edge_weights(14))
    handle = conv.register_message_forward_hook(lambda module, inputs, output: None)
    assert torch.allclose(conv(*graph, edge_weight=edge_weights(14)), fused, rtol=0, atol=1e-12)
    handle.remove()


@every_option
@every_group
def test_is_equivariant(option: str, group: str) -> None:
    conv = make_conv(group, **OPTIONS[option])
    x, edge_index, edge_sh, edge_attr = make_graph(conv)
    assert_equivariant(
        conv,
        x=x,
        equivariant={"edge_sh": (conv.irreps_sh, edge_sh)},
        invariant={"edge_index": edge_index, "edge_attr": edge_attr},
    )


@every_option
@every_message
@pytest.mark.parametrize("checkpoint", ["none", "tensor_product"])
def test_first_and_second_derivatives_pass_gradcheck(option: str, message: str, checkpoint: str) -> None:
    small = {"irreps_in": "4x0e+4x1e", "irreps_sh": "0e+1e", "radial_hidden": (3,), "irreps_head": "1x0e+1x1e"}
    conv = make_conv(message=message, checkpoint=checkpoint, **{**OPTIONS[option], **small})
    x, edge_index, edge_sh, edge_attr = make_graph(conv, torch.tensor([[1, 2, 0], [0, 0, 2]]), num_nodes=3)
    u = torch.tensor([0.3, 0.7, 1.0], dtype=torch.float64)
    inputs = [v.requires_grad_() for v in (x, edge_sh, edge_attr, u)]

    def layer(x: Tensor, edge_sh: Tensor, edge_attr: Tensor, u: Tensor) -> Tensor:
        return conv(x, edge_index, edge_sh, edge_attr, edge_weight=u)

    assert gradcheck(layer, inputs, fast_mode=True)
    assert gradgradcheck(layer, inputs, fast_mode=True)


@every_option
@every_message
def test_every_weight_takes_part(option: str, message: str) -> None:
    conv = make_conv(message=message, **OPTIONS[option])
    conv(*make_graph(conv)).square().sum().backward()
    assert [n for n, p in conv.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_distance_attention_has_weights_for_each_type_that_sum_to_one() -> None:
    conv = make_conv(attention="distance")
    graph = make_graph(conv)
    _, (edge_index, alpha) = conv(*graph, return_attention_weights=True)
    assert alpha.shape == (14, 3, 2)
    total = torch.zeros(6, 3, 2, dtype=torch.float64).index_add(0, edge_index[1], alpha)
    assert torch.allclose(total[edge_index[1].unique()], torch.ones(1, dtype=torch.float64))
    assert (alpha[:, 0] - alpha[:, 1]).abs().max() > 0.01


def test_a_node_without_edges_attends_to_itself_alone() -> None:
    conv = make_conv(attend_self=True)
    graph = make_graph(conv)  # the last node has none
    assert conv.lin_self is not None
    own = conv.lin_self(graph.x[-1:])
    shared = conv.lin_out(own)
    assert torch.allclose(conv(*graph)[-1:], shared, rtol=0, atol=1e-12)


def test_fewer_keys_and_values_have_fewer_weights() -> None:
    sizes = [
        sum(p.numel() for p in make_conv(heads=4, irreps_head="4x0e+2x1e", kv_heads=k).parameters()) for k in (1, 2, 4)
    ]
    assert sizes == sorted(set(sizes))


def test_linear_attention_mixes_the_nodes_of_a_graph_and_no_others() -> None:
    torch.manual_seed(0)
    attention = LinearAttention("4x0e", "4x0e", heads=2, channels=3).double()
    x, batch = torch.randn(5, 1, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1])
    both = attention([x], batch)
    assert torch.allclose(both, torch.cat([attention([x[:3]]), attention([x[3:]])]), rtol=0, atol=1e-14)
    q, k, v = attention.lin_in.blocks([x[:3]])[0].view(3, 3, 2, 3).unbind(1)
    out = torch.einsum("nhc,mhc,mhd->nhd", q.softmax(-1), k.softmax(0), v)
    assert torch.allclose(both[:3], attention.lin_out.blocks([out.reshape(3, 1, 6)])[0], rtol=0, atol=1e-14)
    assert attention([x[:0]], batch[:0]).shape == (0, 1, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kv_heads": 3}, "kv_heads must divide heads=2, got 3"),
        ({"kv_heads": 0}, "kv_heads must divide heads=2, got 0"),
        ({"attention": "distance", "scalar_score": "cosine"}, "scalar_score must be one of"),
        ({"gate_heads": True, "irreps_in": "2x1e", "irreps_head": "1x0e+1x1e"}, "gate_heads needs 0e channels"),
        ({"linear_attention_heads": -1}, "linear attention needs heads"),
        ({"linear_attention_heads": 1, "irreps_out": "1x1e"}, "linear attention needs 0e in input and output"),
    ],
)
def test_options_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_conv(**settings)
