"""Graphs at the edge of what there is: outputs, gradients and second gradients stay finite."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from pyg_equiformer import EquiformerConv
from pyg_equiformer.nn import radial_basis
from pyg_equiformer.o3 import SphericalHarmonics, unit_and_length

from .samples import edge_by_edge, every_device, every_kind, every_precision, make_conv, make_graph, randomize

NO_EDGES: list[list[int]] = [[], []]
ORIGIN = [0.0, 0.0, 0.0]
AXES = [v for v in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(v)]
#: positions in Å, and edges
GRAPHS: dict[str, tuple[list, list[list[int]]]] = {
    "isolated nodes": ([ORIGIN, [1.0, 0.5, 0.2], [9.0, 0, 0], [0, 9.0, 0]], [[0, 1], [1, 0]]),
    "no edges": ([ORIGIN, [1.0, 0, 0]], NO_EDGES),
    "one node": ([ORIGIN], NO_EDGES),
    "a node that is its own neighbour": ([ORIGIN, [1.0, 0, 0]], [[0, 1], [0, 0]]),
    "no nodes": ([], NO_EDGES),
    "coincident nodes": ([ORIGIN, ORIGIN, [1.0, 0.3, 0]], [[0, 1, 2, 0, 1], [1, 0, 0, 2, 2]]),
    "only coincident nodes": ([ORIGIN, ORIGIN], [[0, 1], [1, 0]]),
    "edges along every axis": ([ORIGIN, *AXES], [[*range(1, 27), *[0] * 26], [*[0] * 26, *range(1, 27)]]),
    "very near and very far": ([ORIGIN, [1e-3, 0, 0], [4.999, 0, 0]], [[0, 1, 2, 0], [1, 0, 0, 2]]),
}
every_graph = pytest.mark.parametrize("name", GRAPHS)


class FromPositions(nn.Module):
    """A layer on harmonics and a radial basis of positions."""

    def __init__(self, conv: EquiformerConv) -> None:
        super().__init__()
        self.conv = conv
        self.harmonics = SphericalHarmonics(conv.irreps_sh)
        self.basis = randomize(radial_basis("exp", conv.edge_dim, 5.0))

    def forward(self, x: Tensor, pos: Tensor, edge_index: Tensor) -> Tensor:
        vec = pos[edge_index[0]] - pos[edge_index[1]]
        _, length = unit_and_length(vec)
        return self.conv(x, edge_index, self.harmonics(vec), self.basis(length))


def layer_and_inputs(
    name: str, attention: str, message: str, dtype: torch.dtype, device: str
) -> tuple[FromPositions, Tensor, Tensor, Tensor]:
    layer = FromPositions(make_conv(attention=attention, message=message)).to(device, dtype)
    positions, edges = GRAPHS[name]
    pos = torch.tensor(positions, dtype=dtype, device=device).reshape(-1, 3)
    x = torch.randn(len(positions), layer.conv.irreps_in.dim, dtype=dtype, device=device)
    return layer, x.requires_grad_(), pos.requires_grad_(), torch.tensor(edges, dtype=torch.long, device=device)


@every_graph
@every_kind
@every_precision
@every_device
def test_outputs_gradients_and_second_gradients_are_finite(
    name: str, attention: str, message: str, dtype: torch.dtype, device: str
) -> None:
    layer, x, pos, edge_index = layer_and_inputs(name, attention, message, dtype, device)
    out = layer(x, pos, edge_index)
    assert out.shape == x.shape
    by = [x, pos, *layer.parameters()]
    first = torch.autograd.grad(out.sin().sum() + 0 * pos.sum(), by, create_graph=True, materialize_grads=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), by, materialize_grads=True)
    assert all(v.isfinite().all() for v in (out, *first, *second))


@every_graph
@every_kind
def test_the_hook_path_gives_the_same(name: str, attention: str, message: str) -> None:
    layer, x, pos, edge_index = layer_and_inputs(name, attention, message, torch.float64, "cpu")
    fused = layer(x, pos, edge_index)
    layer.conv.register_message_forward_hook(lambda *_: None)
    assert torch.allclose(layer(x, pos, edge_index), fused, rtol=0, atol=1e-12)


@every_kind
def test_nodes_without_edges_get_the_bias_of_the_last_map_only(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv, torch.tensor([[0], [1]]), num_nodes=4)
    bias = conv.lin_out(torch.zeros(1, conv.lin_out.irreps_in.dim, dtype=torch.float64))
    out = conv(*graph)
    assert torch.allclose(out[[0, 2, 3]], bias.expand(3, -1), rtol=0, atol=1e-14)
    assert not torch.allclose(out[1], bias[0])


def test_coincident_nodes_pass_no_gradient_to_each_other_through_directions() -> None:
    layer, _, pos, edge_index = layer_and_inputs("only coincident nodes", "mlp", "nonlinear", torch.float64, "cpu")
    harmonics = layer.harmonics(pos[edge_index[0]] - pos[edge_index[1]])
    (gradient,) = torch.autograd.grad(harmonics.sum(), pos)
    assert not gradient.any()
    assert not harmonics[:, 1:].any()


@every_kind
def test_repeated_edges_count_as_often_as_they_are_given(attention: str, message: str) -> None:
    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv, torch.tensor([[1, 1, 1, 2], [0, 0, 0, 0]]), num_nodes=3)
    expected, _ = edge_by_edge(conv, graph)
    assert torch.allclose(conv(*graph), expected, rtol=0, atol=1e-12)
