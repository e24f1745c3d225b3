"""Paths along bonds, and bonds drawn at random."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_equiformer.neighbors import n_hop_adjacency, sample_bonds


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Directed edges, some twice, between up to eight nodes."""
    nodes = draw(st.integers(0, 8))
    pairs = [(j, i) for j in range(nodes) for i in range(nodes) if i != j]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    return torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t(), nodes


def by_powers(edge_index: Tensor, nodes: int, hops: int) -> tuple[Tensor, Tensor]:
    """The definition: powers of the adjacency matrix, rows are targets."""
    step = torch.zeros(nodes, nodes, dtype=torch.bool)
    step[edge_index[1], edge_index[0]] = True
    hop = torch.zeros(nodes, nodes, dtype=torch.int64)
    power = torch.eye(nodes)
    for length in range(1, hops + 1):
        power = (step.float() @ power > 0).float()
        hop[(power > 0) & (hop == 0)] = length
    hop.fill_diagonal_(0)
    target, source = hop.nonzero(as_tuple=True)
    return torch.stack([source, target]), hop[target, source]


@settings(max_examples=150, deadline=None)
@given(graphs(), st.integers(1, 5))
def test_hops_are_those_of_matrix_powers(graph: tuple[Tensor, int], hops: int) -> None:
    edge_index, nodes = graph
    found = n_hop_adjacency(edge_index, nodes, hops)
    for got, expected in zip(found, by_powers(edge_index, nodes, hops), strict=True):
        assert torch.equal(got, expected)


def test_a_long_chain_makes_as_many_pairs_as_it_has_paths() -> None:
    atoms = 200_000  # a matrix of bools would take 40 GB
    chain = torch.arange(atoms - 1)
    edge_index, hop = n_hop_adjacency(torch.stack([chain, chain + 1]), atoms, hops=3)
    assert edge_index.shape[1] == 3 * atoms - 6
    assert torch.equal(edge_index[1] - edge_index[0], hop)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 4), st.integers(0, 2**31))
def test_each_target_keeps_as_many_edges_as_it_has_or_may(graph: tuple[Tensor, int], limit: int, seed: int) -> None:
    edge_index, nodes = graph
    kept = sample_bonds(edge_index, limit, torch.Generator().manual_seed(seed))
    degree = torch.bincount(edge_index[1], minlength=nodes)
    assert torch.equal(torch.bincount(edge_index[1][kept], minlength=nodes), degree.clamp(max=limit))
    assert torch.equal(kept, sample_bonds(edge_index, limit, torch.Generator().manual_seed(seed)))


def test_every_edge_is_drawn_as_often() -> None:
    edge_index = torch.tensor([[1, 2, 3, 4, 0], [0, 0, 0, 0, 1]])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([sample_bonds(edge_index, 1, generator) for _ in range(2000)]).double().mean(dim=0)
    assert torch.allclose(drawn[:4], torch.full((4,), 0.25).double(), atol=0.04)  # four standard deviations
    assert drawn[4] == 1


@pytest.mark.parametrize(
    ("bonds", "hops", "message"),
    [
        (torch.tensor([[0], [1]]), 0, "expected hops, the longest path, to be an integer ≥ 1, got 0"),
        (torch.tensor([0, 1]), 1, r"expected bonds of shape \[2, M\] and type int64, got \[2\]"),
        (torch.zeros(2, 1), 1, "type int64, got .* of torch.float32"),
        ([[0], [1]], 1, "type int64, got list"),
        (torch.tensor([[0, 1], [1, 3]]), 1, r"expected bonds between nodes from 0 to 2, got \[1, 3\] as number 1"),
        (torch.tensor([[-1], [1]]), 1, r"got \[-1, 1\] as number 0"),
        (torch.tensor([[0, 2], [1, 2]]), 1, r"expected bonds between two different nodes, got \[2, 2\] as number 1"),
    ],
)
def test_bad_arguments_are_refused(bonds: Tensor, hops: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        n_hop_adjacency(bonds, 3, hops)
    with pytest.raises(ValueError, match="expected max_neighbors"):
        sample_bonds(torch.tensor([[0], [1]]), 0)
