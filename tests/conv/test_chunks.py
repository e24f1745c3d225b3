"""Chunks of targets with their edges: the same numbers and gradients as all edges at once."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EquiformerConv
from pyg_equiformer.conv import chunks as module
from pyg_equiformer.conv.chunks import TargetChunks
from pyg_equiformer.conv.edge_degree_embedding import EdgeDegreeEmbedding

NODES, EDGES = 9, 40


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.CHUNK_EDGES, "cpu", 7)


def graph(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Nodes, edges in any order (several into some node, none into others), their harmonics, numbers and weights."""
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, NODES - 2, (2, EDGES), generator=generator)
    edge_index[1, :12] = 3  # more edges than a chunk has
    values = [
        torch.randn(n, d, generator=generator, dtype=torch.float64) for n, d in ((NODES, 20), (EDGES, 4), (EDGES, 6))
    ]
    return values[0], edge_index, values[1], values[2], torch.rand(EDGES, generator=generator, dtype=torch.float64)


def layer(**settings) -> EquiformerConv:
    torch.manual_seed(0)
    return EquiformerConv("8x0e+4x1e", irreps_sh="0e+1e", edge_dim=6, heads=2, **settings).double()


def gradients(conv: EquiformerConv, chunked: bool, edge_weight: bool = True) -> list[Tensor]:
    """Output, attention weights, gradients and gradients of the gradients."""
    x, edge_index, sh, attr, weight = graph()
    leaves = [t.clone().requires_grad_() for t in (x, sh, attr, weight)]
    given = {"edge_weight": leaves[3]} if edge_weight else {}
    out, (_, alpha) = conv(leaves[0], edge_index, *leaves[1:3], chunked=chunked, return_attention_weights=True, **given)
    leaves = leaves if edge_weight else leaves[:3]
    first = torch.autograd.grad(out.square().sum() + alpha.square().sum(), leaves, create_graph=True)
    total = sum(g.square().sum() for g in first)
    second = torch.autograd.grad(total, [*leaves, *conv.parameters()], allow_unused=True)
    return [out, alpha, *first, *(torch.zeros(1) if g is None else g for g in second)]


@pytest.mark.parametrize(
    "settings",
    [{}, {"message": "linear"}, {"attention": "dot"}, {"attend_self": True}, {"flow": "target_to_source"}],
    ids=str,
)
def test_layers_in_chunks_have_the_same_values_and_two_derivatives(settings: dict) -> None:
    conv = layer(**settings)
    for got, want in zip(gradients(conv, True), gradients(conv, False), strict=True):
        assert torch.allclose(got, want, atol=1e-10, rtol=1e-10)


def test_recomputing_layers_take_chunks_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counting(TargetChunks):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            sizes.extend(self.num_edges)

    monkeypatch.setattr("pyg_equiformer.conv.attention_parts.TargetChunks", Counting)
    got = gradients(layer(checkpoint="tensor_product"), False, edge_weight=False)
    assert len(sizes) > 4
    assert sum(sizes) == EDGES
    for a, b in zip(got, gradients(layer(), False, edge_weight=False), strict=True):
        assert torch.allclose(a, b, atol=1e-10, rtol=1e-10)


def test_chunks_hold_all_edges_of_their_targets_and_no_more_than_the_limit_but_for_single_targets() -> None:
    _, edge_index, *_ = graph()
    chunks, first, seen = TargetChunks(edge_index, 1, NODES), 0, []
    for chunk in chunks.of([torch.arange(EDGES)]):
        assert chunk.edge_index.shape[1] <= 7 or chunk.num_targets == 1
        if chunk.edges[0].numel():
            assert 0 <= int(chunk.edge_index[1].min()) <= int(chunk.edge_index[1].max()) < chunk.num_targets
        numbers = chunk.edges[0]
        assert torch.equal(edge_index[0, numbers], chunk.edge_index[0])
        assert torch.equal(edge_index[1, numbers], chunk.edge_index[1] + first)
        seen, first = [*seen, *numbers.tolist()], first + chunk.num_targets
    assert first == NODES
    assert sorted(seen) == list(range(EDGES))
    parts = [chunk.edges[0] for chunk in chunks.of([torch.arange(EDGES)])]
    assert torch.equal(chunks.in_edge_order(parts), torch.arange(EDGES))


def test_edges_in_both_directions_share_their_numbers_in_chunks_too() -> None:
    x, edge_index, *_ = graph()
    there = edge_index[:, edge_index[0] != edge_index[1]]
    both = torch.cat([there, there.flip(0)], dim=1)
    generator = torch.Generator().manual_seed(1)
    sh = torch.randn(both.shape[1], 4, generator=generator, dtype=torch.float64)
    attr = torch.randn(there.shape[1], 6, generator=generator, dtype=torch.float64)
    conv = layer()
    outs = [
        conv([x[:, :8].unsqueeze(1), x[:, 8:].reshape(-1, 3, 4)], both, sh, attr, mirrored=True, chunked=c)
        for c in (True, False)
    ]
    for got, want in zip(*outs, strict=True):
        assert torch.allclose(got, want, atol=1e-12)


def test_the_embedding_of_degrees_is_the_same_in_chunks() -> None:
    torch.manual_seed(0)
    embedding = EdgeDegreeEmbedding("8x0e+4x1e", irreps_sh="0e+1e", edge_dim=6).double()
    _, edge_index, sh, attr, weight = graph()
    found = []
    for chunked in (True, False):
        leaves = [t.clone().requires_grad_() for t in (sh, attr, weight)]
        out = embedding(edge_index, *leaves[:2], num_nodes=NODES, edge_weight=leaves[2], chunked=chunked)
        grads = torch.autograd.grad(sum(b.square().sum() for b in out), [*leaves, *embedding.parameters()])
        found.append([*out, *grads])
    for got, want in zip(*found, strict=True):
        assert torch.allclose(got, want, atol=1e-12)


def test_a_graph_without_edges_has_one_chunk() -> None:
    chunks = TargetChunks(torch.empty(2, 0, dtype=torch.long), 1, 3)
    assert [c.num_targets for c in chunks.of([torch.empty(0, 2)])] == [3]
