"""Edges in the order that puts each beside its reverse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pyg_equiformer.neighbors import mirror_order

pairs = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda p: p[0] < p[1]), min_size=1, max_size=20)


def shuffled(directed: list[tuple[int, int]], seed: int) -> Tensor:
    edges = torch.tensor(directed).t()
    return edges[:, torch.randperm(edges.shape[1], generator=torch.Generator().manual_seed(seed))]


@given(pairs, st.integers(0, 100))
def test_edges_of_both_directions_are_put_in_mirrored_halves(found: set[tuple[int, int]], seed: int) -> None:
    edge_index = shuffled([*found, *((j, i) for i, j in found)], seed)
    order = mirror_order(edge_index, 8)
    assert order is not None
    assert sorted(order.tolist()) == list(range(edge_index.shape[1]))
    first, second = edge_index[:, order].chunk(2, dim=1)
    assert torch.equal(first, second.flip(0))


@given(pairs, st.integers(0, 100), st.data())
def test_an_edge_without_its_reverse_is_noticed(found: set[tuple[int, int]], seed: int, data: st.DataObject) -> None:
    directed = [*found, *((j, i) for i, j in found)]
    directed.remove(data.draw(st.sampled_from(directed)))
    if directed:
        assert mirror_order(shuffled(directed, seed), 8) is None


@pytest.mark.parametrize(
    "edges",
    [[[], []], [[0, 1], [0, 0]], [[0, 1], [0, 1]], [[0, 0], [1, 1]], [[0, 1, 1, 2], [1, 0, 2, 0]]],
    ids=["none", "with a loop", "loops", "one direction twice", "a chain"],
)
def test_other_edges_have_no_such_order(edges: list[list[int]]) -> None:
    assert mirror_order(torch.tensor(edges, dtype=torch.long), 3) is None


def test_an_edge_that_is_there_twice_needs_its_reverse_twice() -> None:
    twice = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]])
    order = mirror_order(twice, 2)
    assert order is not None
    assert torch.equal(twice[:, order], torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]]))
    assert mirror_order(twice[:, :3], 2) is None
