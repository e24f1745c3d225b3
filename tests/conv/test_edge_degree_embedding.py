"""EdgeDegreeEmbedding against a full tensor product of a constant vector, edge by edge."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_equiformer.conv import EdgeDegreeEmbedding
from pyg_equiformer.kernels import neighbor_table
from pyg_equiformer.nn import DepthwiseTensorProduct
from pyg_equiformer.o3 import Layout, SphericalHarmonics
from pyg_equiformer.testing import assert_equivariant

from .samples import edge_weights, every_device, every_group, every_precision, map_product, random_edges, randomize

IRREPS = {"SE(3)": ("5x0e+2x1e+3x2e", "0e+1e+2e"), "E(3)": ("2x1o+5x0e+2x0o+3x2e", "0e+1o+2e")}
N, E = 6, 14


def make_embedding(group: str = "SE(3)", **settings: Any) -> EdgeDegreeEmbedding:
    torch.manual_seed(0)
    irreps, sh = IRREPS[group]
    settings = {"edge_dim": 3, "radial_hidden": (8,), "avg_degree": 4.0, **settings}
    embedding = EdgeDegreeEmbedding(irreps, irreps_sh=sh, **settings).double()
    assert isinstance(randomize(embedding), EdgeDegreeEmbedding)
    return embedding


def edges_of(embedding: EdgeDegreeEmbedding, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vec, attr = (torch.randn(E, 3, generator=generator, dtype=torch.float64).to(device) for _ in range(2))
    like = embedding.scalar_weight.dtype
    sh = SphericalHarmonics(embedding.irreps_sh).double().to(device)(vec)
    return random_edges().to(device), sh.to(like), attr.to(like)


def flat(embedding: EdgeDegreeEmbedding, blocks: list[Tensor]) -> Tensor:
    return embedding.layout_out.join(blocks)


def reference(embedding: EdgeDegreeEmbedding, edges: tuple[Tensor, Tensor, Tensor], u: Tensor | None) -> Tensor:
    """Give every edge the constant scalars s, take the whole product and its linear map, then sum."""
    (_, target), sh, attr = edges
    layout = embedding.layout_out
    product = DepthwiseTensorProduct(layout.irreps, irreps_sh=embedding.irreps_sh, irreps_filter=layout.irreps).to(sh)
    blocks = [sh.new_zeros(len(sh), d, c) for d, c in zip(layout.dims, layout.channels)]
    blocks[0] = blocks[0] + embedding.scalar_weight + embedding.scalar_bias
    message = map_product(embedding.lin, product, product(layout.join(blocks), sh, embedding.radial(attr)))
    message = message if u is None else message * u.unsqueeze(1)
    return message.new_zeros(N, layout.dim).index_add(0, target, message) / embedding.avg_degree**0.5


def derivatives(embedding: EdgeDegreeEmbedding, f: Any, edges: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    leaves = [v.detach().requires_grad_() for v in edges[1:]]
    out = f((edges[0], *leaves))
    # The maps from types that are always zero pass no gradient.
    by = [*leaves, *embedding.parameters()]
    first = torch.autograd.grad(out.sin().sum(), by, create_graph=True, materialize_grads=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
    return [out, *first, *second]


@every_group
@every_device
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_equals_the_full_product_with_gradients_and_second_gradients(
    group: str, device: str, weighted: bool, fused: bool
) -> None:
    embedding = make_embedding(group).to(device)
    edges = edges_of(embedding, device)
    u = edge_weights(E).to(device) if weighted else None
    table = neighbor_table(edges[0][1], N) if fused else None
    assert fused == (table is not None)

    def layer(edges: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return flat(embedding, embedding(*edges, num_nodes=N, edge_weight=u, table=table))

    expected = derivatives(embedding, lambda edges: reference(embedding, edges, u), edges)
    for a, b in zip(derivatives(embedding, layer, edges), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


@every_group
@every_precision
@every_device
def test_is_equivariant(group: str, dtype: torch.dtype, device: str) -> None:
    embedding = make_embedding(group).to(device, dtype)
    edge_index, sh, attr = edges_of(embedding, device)
    assert_equivariant(
        lambda sh: flat(embedding, embedding(edge_index, sh, attr, num_nodes=N)),
        embedding.irreps_sh,
        embedding.irreps_out,
        x=sh,
    )


def test_the_default_path_runs_propagate_and_a_message_hook_removes_an_edge() -> None:
    embedding = make_embedding()
    edge_index, sh, attr = edges_of(embedding)
    table = neighbor_table(edge_index[1], N)
    calls: list[Tensor] = []
    embedding.register_propagate_forward_pre_hook(lambda module, inputs: calls.append(inputs[0]))
    flat(embedding, embedding(edge_index, sh, attr, num_nodes=N, table=table))
    assert len(calls) == 1
    keep = torch.arange(E) != 4
    without = embedding(edge_index[:, keep], sh[keep], attr[keep], num_nodes=N)
    embedding.register_message_forward_hook(lambda module, inputs, out: out * keep.unsqueeze(1))
    hooked = embedding(edge_index, sh, attr, num_nodes=N, table=table)
    assert torch.allclose(flat(embedding, hooked), flat(embedding, without), rtol=0, atol=1e-13)


def test_an_edge_weight_of_zero_removes_the_edge() -> None:
    embedding = make_embedding()
    edge_index, sh, attr = edges_of(embedding)
    keep = torch.arange(E) != 4
    weighted = embedding(edge_index, sh, attr, num_nodes=N, edge_weight=keep.double())
    without = embedding(edge_index[:, keep], sh[keep], attr[keep], num_nodes=N)
    assert torch.allclose(flat(embedding, weighted), flat(embedding, without), rtol=0, atol=1e-13)


@every_precision
def test_no_edges_and_isolated_nodes_give_zero(dtype: torch.dtype) -> None:
    embedding = make_embedding().to(dtype)
    edge_index, sh, attr = edges_of(embedding)
    assert not flat(embedding, embedding(edge_index[:, :0], sh[:0], attr[:0], num_nodes=3)).any()
    assert not flat(embedding, embedding(edge_index, sh, attr, num_nodes=N))[N - 1].any()
    assert embedding(edge_index[:, :0], sh[:0], attr[:0], num_nodes=0)[0].shape == (0, 1, 5)


def test_reset_repeats_with_the_seed_and_copies_give_the_same() -> None:
    embedding = make_embedding()
    edges = edges_of(embedding)
    expected = flat(embedding, embedding(*edges, num_nodes=N))
    fresh = make_embedding()
    fresh.reset_parameters()
    fresh.load_state_dict(embedding.state_dict(), strict=True)
    for twin in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding)), fresh):
        assert torch.equal(flat(twin, twin(*edges, num_nodes=N)), expected)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        embedding.reset_parameters()
        states.append(torch.cat([p.detach().flatten() for p in embedding.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_repr_and_public_irreps() -> None:
    embedding = make_embedding()
    assert embedding.irreps_out == Layout(IRREPS["SE(3)"][0]).irreps
    assert "EdgeDegreeEmbedding(5x0e+2x1e+3x2e, irreps_sh=1x0e+1x1e+1x2e, avg_degree=4)" in repr(embedding)
