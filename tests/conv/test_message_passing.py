"""EquiformerConv is message passing: hooks, explainers, flow, and every form of edges that PyG knows."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import MessagePassing, Sequential

from pyg_equiformer import EquiformerConv

from .samples import (
    EDGE_DIM,
    Graph,
    edge_weights,
    every_device,
    every_group,
    every_kind,
    every_message,
    make_conv,
    make_graph,
)


def derivatives(conv: EquiformerConv, graph: Graph, **inputs: Tensor) -> list[Tensor]:
    """Output, first derivatives, and derivatives of their squares, by all inputs and weights."""
    leaves = [v.detach().requires_grad_() for v in (graph.x, graph.edge_sh, graph.edge_attr)]
    out = conv(leaves[0], graph.edge_index, *leaves[1:], **inputs)
    by = [*leaves, *conv.parameters()]
    first = torch.autograd.grad(out.sin().sum(), by, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), by)
    return [out, *first, *second]


def contribution(conv: EquiformerConv, message: Tensor) -> Tensor:
    """What messages [.., heads · irreps_head.dim] add to the output of their target."""
    return conv.lin_out(message) - conv.lin_out(torch.zeros_like(message))


@every_kind
def test_the_default_path_runs_propagate_and_message_and_aggregate_once(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    assert isinstance(conv, MessagePassing)
    names = ("propagate", "message", "aggregate", "edge_updater", "edge_update")
    spies = {name: Mock(wraps=getattr(conv, name)) for name in names}
    for name, spy in spies.items():
        setattr(conv, name, spy)
    conv(*make_graph(conv))
    assert [spy.call_count for spy in spies.values()] == [1] * len(names)


@every_kind
def test_a_propagate_hook_sees_the_call_and_changes_nothing(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    expected, seen = conv(*graph), []
    conv.register_propagate_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    assert torch.equal(conv(*graph), expected)
    assert len(seen) == 1
    assert torch.equal(seen[0], graph.edge_index)


@every_kind
@every_group
@every_device
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fused_path_and_the_path_with_hooks_agree_in_value_gradients_and_second_gradients(
    attention: str, message: str, group: str, device: str, weighted: bool
) -> None:
    conv = make_conv(group, attention=attention, message=message, rescale_degree=weighted).to(device)
    graph = make_graph(conv, device=device)
    inputs = {"edge_weight": edge_weights(14).to(device)} if weighted else {}
    fused = derivatives(conv, graph, **inputs)
    shapes = []
    hook = conv.register_message_forward_hook(lambda module, inputs, out: shapes.append(out.shape))
    with_hook = derivatives(conv, graph, **inputs)
    assert shapes == [(14, 2 * conv.irreps_head.dim)]
    for a, b in zip(fused, with_hook, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    hook.remove()
    assert torch.allclose(conv(*graph, **inputs), fused[0], rtol=0, atol=1e-13)


@every_kind
def test_messages_are_attention_times_value_and_sum_to_the_output(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    seen: list[Tensor] = []
    conv.register_message_forward_hook(lambda module, inputs, out: seen.append(out))
    out = conv(*graph)
    total = torch.zeros(6, seen[0].shape[1], dtype=torch.float64).index_add(0, graph.edge_index[1], seen[0])
    assert torch.allclose(conv.lin_out(total), out, rtol=0, atol=1e-12)


@every_kind
def test_zeroing_an_edge_in_a_message_hook_removes_exactly_its_contribution(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    expected, edge, seen = conv(*graph), 4, []

    def zero(module: nn.Module, inputs: tuple, out: Tensor) -> Tensor:
        seen.append(out)
        keep = torch.ones_like(out)
        keep[edge] = 0
        return out * keep

    conv.register_message_forward_hook(zero)
    changed, target = conv(*graph), int(graph.edge_index[1, edge])
    others = torch.arange(6) != target
    assert torch.allclose(changed[others], expected[others], rtol=0, atol=1e-12)
    removed = contribution(conv, seen[0][edge])
    assert removed.abs().max() > 1e-3
    assert torch.allclose(changed[target], expected[target] - removed, rtol=0, atol=1e-12)


@every_kind
@pytest.mark.parametrize("apply_sigmoid", [False, True])
def test_an_explainer_mask_weighs_the_messages(attention: str, message: str, apply_sigmoid: bool) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    expected, seen = conv(*graph), []
    hook = conv.register_message_forward_hook(lambda module, inputs, out: seen.append(out))
    conv(*graph)
    hook.remove()
    mask = torch.ones(14, dtype=torch.float64)
    mask[[4, 9]] = 0
    set_masks(conv, mask, graph.edge_index, apply_sigmoid=apply_sigmoid)
    share = (mask.sigmoid() if apply_sigmoid else mask).unsqueeze(1)
    total = torch.zeros(6, seen[0].shape[1], dtype=torch.float64).index_add(0, graph.edge_index[1], share * seen[0])
    assert torch.allclose(conv(*graph), conv.lin_out(total), rtol=0, atol=1e-12)
    if not apply_sigmoid:
        target = torch.arange(6) == graph.edge_index[1, [4, 9]].unsqueeze(1)
        assert torch.allclose(conv(*graph)[~target.any(0)], expected[~target.any(0)], rtol=0, atol=1e-12)
    clear_masks(conv)
    assert torch.equal(conv(*graph), expected)


class ScalarModel(nn.Module):
    """Two layers and a sum over nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = make_conv(irreps_in="4x0e+2x1e", irreps_sh="0e+1e").float()
        self.last = make_conv(irreps_in="4x0e+2x1e", irreps_sh="0e+1e", irreps_out="1x0e").float()

    def forward(self, x: Tensor, edge_index: Tensor, edge_sh: Tensor, edge_attr: Tensor) -> Tensor:
        x = self.first(x, edge_index, edge_sh, edge_attr)
        return self.last(x, edge_index, edge_sh, edge_attr).sum(0, keepdim=True)


def test_gnn_explainer_explains_a_model_of_these_layers() -> None:
    model = ScalarModel()
    graph = make_graph(model.first)
    before = model(*graph)
    explainer = Explainer(
        model,
        algorithm=GNNExplainer(epochs=5),
        explanation_type="model",
        node_mask_type="object",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "graph", "return_type": "raw"},
    )
    explanation = explainer(graph.x, graph.edge_index, edge_sh=graph.edge_sh, edge_attr=graph.edge_attr)
    assert explanation.edge_mask.shape == (14,)
    assert explanation.edge_mask.isfinite().all()
    assert explanation.edge_mask.std() > 0
    assert torch.equal(model(*graph), before)


@every_kind
def test_reversed_flow_equals_flipped_edges(attention: str, message: str) -> None:
    forward = make_conv(attention=attention, message=message)
    backward = make_conv(attention=attention, message=message, flow="target_to_source")
    graph = make_graph(forward)
    flipped = graph._replace(edge_index=graph.edge_index.flip(0))
    assert torch.allclose(backward(*flipped), forward(*graph), rtol=0, atol=1e-13)
    assert not torch.allclose(backward(*graph), forward(*graph))


@every_kind
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_a_bipartite_graph_equals_the_same_edges_in_one_graph(attention: str, message: str, flow: str) -> None:
    conv = make_conv(attention=attention, message=message, flow=flow)
    rows = torch.tensor([[0, 1, 2, 2, 0], [4, 0, 0, 3, 1]])  # three nodes of one kind, five of the other
    x, _, edge_sh, edge_attr = make_graph(conv, rows, num_nodes=8)
    offset = torch.tensor([[0], [3]])
    joint = conv(x, rows + offset, edge_sh, edge_attr)
    out = conv((x[:3], x[3:]), rows, edge_sh, edge_attr)
    expected = joint[3:] if flow == "source_to_target" else joint[:3]
    assert torch.allclose(out, expected, rtol=0, atol=1e-13)


@every_kind
@pytest.mark.parametrize("order", [None, "row", "col"])
def test_an_edge_index_object_gives_the_same(attention: str, message: str, order: str | None) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    if order is not None:
        by = graph.edge_index[0 if order == "row" else 1].argsort(stable=True)
        graph = Graph(graph.x, graph.edge_index[:, by], graph.edge_sh[by], graph.edge_attr[by])
    edge_index = EdgeIndex(graph.edge_index, sparse_size=(6, 6), sort_order=order)
    out, (returned, alpha) = conv(graph.x, edge_index, *graph[2:], return_attention_weights=True)
    assert torch.equal(out, conv(*graph))
    assert torch.equal(torch.as_tensor(returned), graph.edge_index)
    assert alpha.shape == (14, 2)


@pytest.mark.sparse
@every_kind
def test_a_transposed_sparse_tensor_gives_the_same_with_edges_in_its_order(attention: str, message: str) -> None:
    torch_sparse = pytest.importorskip("torch_sparse")
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv, torch.tensor([[0, 3, 1, 0, 2, 4], [0, 0, 1, 3, 3, 4]]))  # sorted by target, then source
    adj_t = torch_sparse.SparseTensor(row=graph.edge_index[1], col=graph.edge_index[0], sparse_sizes=(6, 6))
    row, col, _ = adj_t.coo()
    assert torch.equal(torch.stack([col, row]), graph.edge_index)
    out, adj_alpha = conv(graph.x, adj_t, *graph[2:], return_attention_weights=True)
    expected, (_, alpha) = conv(*graph, return_attention_weights=True)
    assert torch.allclose(out, expected, rtol=0, atol=1e-13)
    assert torch.allclose(adj_alpha.storage.value(), alpha, rtol=0, atol=1e-13)


@every_message
def test_runs_inside_a_pyg_sequential_model(message: str) -> None:
    first = make_conv(message=message)
    second = make_conv(message=message, irreps_out="1x0e")
    call = "x, edge_index, edge_sh, edge_attr -> x"
    model = Sequential("x, edge_index, edge_sh, edge_attr", [(first, call), (second, call), nn.Linear(1, 3)]).double()
    graph = make_graph(first)
    assert model(*graph).shape == (6, 3)
    hidden = graph._replace(x=first(*graph))
    assert torch.equal(model[1](*hidden), second(*hidden))


def test_batched_graphs_give_what_each_gives_alone() -> None:
    from torch_geometric.data import Batch

    conv = make_conv()
    graphs = [make_graph(conv, num_nodes=n, seed=n) for n in (4, 6, 5)]
    data = Batch.from_data_list(
        [Data(x=g.x, edge_index=g.edge_index, edge_sh=g.edge_sh, edge_attr=g.edge_attr) for g in graphs]
    )
    out = conv(data.x, data.edge_index, data.edge_sh, data.edge_attr)
    assert torch.allclose(out, torch.cat([conv(*g) for g in graphs]), rtol=0, atol=1e-12)
    assert data.edge_attr.shape[1] == EDGE_DIM
