"""EquiformerConv: the paper's equations, equivariance, its options and how it behaves as a module."""

import copy
import pickle

import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings

from pyg_equiformer import EquiformerConv
from pyg_equiformer.testing import assert_equivariant

from ..strategies import any_irreps
from .samples import (
    EDGE_DIM,
    KINDS,
    Graph,
    edge_by_edge,
    edge_weights,
    every_device,
    every_group,
    every_kind,
    every_message,
    every_precision,
    make_conv,
    make_graph,
    random_edges,
)


@every_kind
@every_group
@every_device
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_equations_edge_by_edge(
    attention: str, message: str, group: str, device: str, weighted: bool
) -> None:
    conv = make_conv(group, attention=attention, message=message).to(device)
    graph = make_graph(conv, device=device)
    u = edge_weights(14).to(device) if weighted else None
    expected, expected_alpha = edge_by_edge(conv, graph, u)
    out, (_, alpha) = conv(*graph, edge_weight=u, return_attention_weights=True)
    assert torch.allclose(alpha, expected_alpha, rtol=0, atol=1e-12)
    assert torch.allclose(out, expected, rtol=0, atol=1e-11)


@every_kind
@every_group
@every_precision
@every_device
def test_is_equivariant(attention: str, message: str, group: str, dtype: torch.dtype, device: str) -> None:
    conv = make_conv(group, attention=attention, message=message).to(device, dtype)
    x, edge_index, edge_sh, edge_attr = make_graph(conv, device=device)
    assert_equivariant(
        conv,
        x=x,
        equivariant={"edge_sh": (conv.irreps_sh, edge_sh)},
        invariant={"edge_index": edge_index, "edge_attr": edge_attr},
    )


@given(any_irreps, any_irreps)
@settings(deadline=None, max_examples=8)
def test_any_irreps_in_any_order_work_and_stay_equivariant(irreps_in: Irreps, irreps_out: Irreps) -> None:
    for attention, message in KINDS:
        conv = make_conv(
            irreps_in=irreps_in + Irreps("1x0e"),  # from which every type can be reached
            irreps_out=irreps_out,
            irreps_sh="2e+1o+0e",
            irreps_head="1x1o+2x0e+1x2e",
            attention=attention,
            message=message,
        )
        x, edge_index, edge_sh, edge_attr = make_graph(conv)
        assert_equivariant(
            conv,
            x=x,
            equivariant={"edge_sh": (conv.irreps_sh, edge_sh)},
            invariant={"edge_index": edge_index, "edge_attr": edge_attr},
            trials=1,
        )


def test_the_order_of_edges_does_not_matter() -> None:
    conv = make_conv()
    graph = make_graph(conv)
    order = torch.randperm(14)
    shuffled = Graph(graph.x, graph.edge_index[:, order], graph.edge_sh[order], graph.edge_attr[order])
    sorted_order = graph.edge_index[1].argsort(stable=True)
    in_order = Graph(
        graph.x, graph.edge_index[:, sorted_order], graph.edge_sh[sorted_order], graph.edge_attr[sorted_order]
    )
    for other in (shuffled, in_order):
        assert torch.allclose(conv(*other), conv(*graph), rtol=0, atol=1e-13)


@every_message
def test_a_hub_gives_the_same_as_many_small_targets_would(message: str) -> None:
    conv = make_conv(message=message)
    star = torch.stack([torch.arange(1, 60), torch.zeros(59, dtype=torch.long)])
    graph = make_graph(conv, star, num_nodes=60)  # too uneven for a table of neighbours
    expected, _ = edge_by_edge(conv, graph)
    assert torch.allclose(conv(*graph), expected, rtol=0, atol=1e-11)


@every_kind
def test_attention_weights_come_with_the_edges_and_sum_to_one_for_every_target(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    out, (edge_index, alpha) = conv(*graph, return_attention_weights=True)
    assert torch.equal(out, conv(*graph))
    assert torch.equal(edge_index, graph.edge_index)
    assert alpha.shape == (14, 2)
    total = torch.zeros(6, 2, dtype=torch.float64).index_add(0, edge_index[1], alpha)
    assert torch.allclose(total[edge_index[1].unique()], torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize(("attention", "factor"), [("mlp", 1.0), ("dot", 1 / 4.0)])
def test_rescale_degree_multiplies_the_sum_by_the_degree(attention: str, factor: float) -> None:
    plain, rescaled = (make_conv(attention=attention, rescale_degree=r, avg_degree=4.0) for r in (False, True))
    rescaled.load_state_dict(plain.state_dict())
    graph = make_graph(plain)
    bias = plain.lin_out(torch.zeros(1, plain.lin_out.irreps_in.dim, dtype=torch.float64))
    degree = torch.bincount(graph.edge_index[1], minlength=6).unsqueeze(1)
    assert torch.allclose(rescaled(*graph), (plain(*graph) - bias) * degree * factor + bias, rtol=0, atol=1e-12)


def test_irreps_of_output_messages_and_heads_may_all_differ() -> None:
    for attention, message in KINDS:
        conv = make_conv(
            attention=attention,
            message=message,
            irreps_out="3x1e+2x0e+1x3e",
            irreps_pre_attn="6x0e+3x1e",
            irreps_head="2x1e+5x0e",
        )
        assert conv.irreps_out == Irreps("3x1e+2x0e+1x3e")
        assert conv.lin_src.irreps_out == Irreps("6x0e+3x1e")
        graph = make_graph(conv)
        expected, _ = edge_by_edge(conv, graph)
        assert torch.allclose(conv(*graph), expected, rtol=0, atol=1e-11)


def test_heads_share_the_channels_of_the_input_by_default() -> None:
    conv = make_conv(irreps_in="8x0e+4x1e+4x0e", heads=4)
    assert conv.irreps_head == Irreps("3x0e+1x1e")
    assert conv.irreps_out == conv.irreps_in == Irreps("8x0e+4x1e+4x0e")


def test_input_without_scalars_works_where_none_are_needed() -> None:
    conv = make_conv(irreps_in="4x1o", irreps_sh="0e+1o", attention="dot")
    assert conv(*make_graph(conv)).shape == (6, 12)
    conv = make_conv(irreps_in="4x1o", irreps_sh="0e+1o", attention="mlp", irreps_head="2x0e+1x1o")
    assert conv(*make_graph(conv)).shape == (6, 12)


@every_kind
def test_an_edge_weight_of_zero_removes_the_edge_smoothly(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    without = Graph(graph.x, graph.edge_index[:, 1:], graph.edge_sh[1:], graph.edge_attr[1:])
    u = edge_weights(14)
    expected = conv(*without, edge_weight=u[1:])

    def output(first: float) -> torch.Tensor:
        return conv(*graph, edge_weight=torch.cat([torch.full_like(u[:1], first), u[1:]]))

    assert torch.allclose(output(0.0), expected, rtol=0, atol=1e-13)
    slope = (output(1e-4) - output(0.0)) / 1e-4
    assert torch.allclose((output(1e-6) - output(0.0)) / 1e-6, slope, rtol=1e-2, atol=1e-2)


def test_the_last_edge_of_a_target_fades_out_smoothly() -> None:
    conv = make_conv()
    graph = make_graph(conv, torch.tensor([[1], [0]]), num_nodes=2)
    alone = conv.lin_out(torch.zeros(1, conv.lin_out.irreps_in.dim, dtype=torch.float64))
    for u in (1e-3, 1e-6, 1e-300, 0.0):
        out = conv(*graph, edge_weight=torch.tensor([u], dtype=torch.float64))
        assert (out[0] - alone).abs().max() <= 100 * u


def test_repr_tells_irreps_heads_and_kinds() -> None:
    text = repr(make_conv(attention="dot", message="linear", irreps_out="3x0e"))
    for part in (
        "4x0e+2x1e+2x2e -> 3x0e",
        "irreps_sh=1x0e+1x1e+1x2e",
        "heads=2 x (2x0e+1x1e+1x2e)",
        "'dot'",
        "'linear'",
    ):
        assert part in text


@every_kind
def test_copies_pickles_and_state_dicts_give_the_same_outputs(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    expected = conv(*graph)
    fresh = EquiformerConv(
        conv.irreps_in, irreps_sh=conv.irreps_sh, edge_dim=EDGE_DIM, heads=2, radial_hidden=(8,), attention=attention,
        message=message,
    ).double()  # fmt: skip
    fresh.load_state_dict(conv.state_dict(), strict=True)
    for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv)), fresh):
        assert torch.equal(twin(*graph), expected)


def test_blocks_in_give_blocks_out() -> None:
    conv = make_conv(irreps_in="2x1e+4x0e+2x2e")
    graph = make_graph(conv)
    blocks = conv(conv.layout_in.split(graph.x), *graph[1:])
    assert torch.equal(conv.layout_out.join(blocks), conv(*graph))


def test_int32_edges_are_taken_as_int64() -> None:
    conv = make_conv()
    graph = make_graph(conv)
    assert torch.equal(conv(graph.x, random_edges().int(), *graph[2:]), conv(*graph))
