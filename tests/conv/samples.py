"""Small layers, small graphs and a slow reference that the tests of the convolutions share."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EquiformerConv
from pyg_equiformer.kernels import pair_matrices
from pyg_equiformer.nn import DepthwiseTensorProduct, Linear, PathLinear
from pyg_equiformer.o3 import Layout, SphericalHarmonics

from ..strategies import DEVICES

KINDS = [(attention, message) for attention in ("mlp", "dot") for message in ("nonlinear", "linear")]
GROUPS = {
    "SE(3)": {"irreps_in": "4x0e+2x1e+2x2e", "irreps_sh": "0e+1e+2e"},
    "E(3)": {"irreps_in": "4x0e+2x0o+2x1e+2x1o+2x2e", "irreps_sh": "0e+1o+2e"},
}
EDGE_DIM = 3

every_kind = pytest.mark.parametrize(("attention", "message"), KINDS)
every_message = pytest.mark.parametrize("message", ["nonlinear", "linear"])
every_group = pytest.mark.parametrize("group", GROUPS)
every_device = pytest.mark.parametrize("device", DEVICES)
every_precision = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


class Graph(NamedTuple):
    """Inputs of a layer, in its order."""

    x: Any
    edge_index: Any
    edge_sh: Tensor
    edge_attr: Tensor


def randomize(module: torch.nn.Module) -> torch.nn.Module:
    """Make every weight random: those that start at zero (biases) would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((0.3 * noise).to(parameter))
    return module


def make_conv(group: str = "SE(3)", **settings: Any) -> EquiformerConv:
    """A small float64 layer with all weights random."""
    torch.manual_seed(0)
    settings = {**GROUPS[group], "edge_dim": EDGE_DIM, "heads": 2, "radial_hidden": (8,), **settings}
    conv = EquiformerConv(settings.pop("irreps_in"), **settings).double()
    assert isinstance(randomize(conv), EquiformerConv)
    return conv


def random_edges(num_nodes: int = 6, num_edges: int = 14, seed: int = 0) -> Tensor:
    """Unsorted edges; the last node has none."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, num_nodes - 1, (2, num_edges), generator=generator)


def make_graph(
    conv: EquiformerConv, edge_index: Tensor | None = None, num_nodes: int = 6, device: str = "cpu", seed: int = 0
) -> Graph:
    """Random features and edges in the precision of the layer; the harmonics are those of random vectors."""
    edge_index = random_edges(num_nodes) if edge_index is None else edge_index
    generator = torch.Generator().manual_seed(seed)
    like = conv.lin_src.types.weight["0e"] if "0e" in conv.lin_src.types.weight else next(conv.parameters())
    shapes = [(num_nodes, conv.irreps_in.dim), (edge_index.shape[1], 3), (edge_index.shape[1], conv.edge_dim)]
    x, vec, edge_attr = (torch.randn(*s, generator=generator, dtype=torch.float64).to(device) for s in shapes)
    edge_sh = SphericalHarmonics(conv.irreps_sh).double().to(device)(vec)
    return Graph(x.to(like.dtype), edge_index.to(device), edge_sh.to(like.dtype), edge_attr.to(like.dtype))


def edge_weights(num_edges: int) -> Tensor:
    return torch.linspace(0.1, 1, num_edges, dtype=torch.float64)


def map_product(path_linear: PathLinear, product: DepthwiseTensorProduct, x: Tensor) -> Tensor:
    """Map flat products with the weights of a `PathLinear`, by an ordinary linear layer."""
    linear = Linear(product.irreps_out, path_linear.irreps_out)
    return torch.func.functional_call(linear, dict(path_linear.named_parameters()), (x,))


def edge_by_edge(conv: EquiformerConv, graph: Graph, edge_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The equations of the paper with a loop over targets, heads and edges: output and attention weights."""
    x, (source, target), sh, attr = graph
    message = conv.lin_src(x)[source] + conv.lin_dst(x)[target]
    product = conv.product(message, sh, conv.radial(attr))
    matrices = pair_matrices(conv.product.plan, conv.product.matrices(sh))
    parts = conv.product.pairs(conv.product.plan.layout_in.split(message), matrices, conv.radial(attr))
    score = conv.score(conv.layout_in.split(x), conv.score.keys(parts), target)
    if conv.gate is None:
        value = map_product(conv.lin_value, conv.product, product)
    else:
        hidden = conv.gate(map_product(conv.lin_gate, conv.product, product))
        value = conv.value_product(hidden, sh, conv.value_weight.expand(len(sh), -1))
        value = map_product(conv.lin_value, conv.value_product, value)
    u = torch.ones_like(score[:, 0]) if edge_weight is None else edge_weight
    heads = Layout(conv.lin_value.irreps_out)
    value_blocks = heads.split(value)
    alpha = torch.zeros_like(score)
    sums = [b.new_zeros(x.shape[0], *b.shape[1:]) for b in value_blocks]
    for i in range(x.shape[0]):
        mine = (target == i).nonzero().flatten().tolist()
        for h in range(conv.heads):
            total = sum(u[e] * score[e, h].exp() for e in mine)
            for e in mine:
                alpha[e, h] = u[e] * score[e, h].exp() / total
                for block, out in zip(value_blocks, sums):
                    width = block.shape[2] // conv.heads
                    columns = slice(h * width, (h + 1) * width)
                    out[i, :, columns] += alpha[e, h] * u[e] * block[e, :, columns]
    return conv.lin_out(heads.join(sums)), alpha
