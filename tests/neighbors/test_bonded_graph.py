"""`bonded_graph` against unions of sets of pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_equiformer.neighbors import bonded_graph, knn_graph, radius_graph

from .test_bonds import by_powers, graphs


def pairs(edge_index: Tensor) -> set[tuple[int, int]]:
    return {(i, j) for j, i in edge_index.t().tolist()}


@settings(max_examples=120, deadline=None)
@given(
    graphs(),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 1.5]),
    st.integers(1, 3),
    st.sampled_from([None, 1, 2]),
    st.integers(0, 2**31),
)
def test_neighbours_are_those_by_bonds_and_the_nearest(
    graph: tuple[Tensor, int], k: int | None, cutoff: float | None, hops: int, max_bonds: int | None, seed: int
) -> None:
    bonds, atoms = graph
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(atoms, 3, generator=generator, dtype=torch.float64)
    got = bonded_graph(pos, bonds, k, cutoff=cutoff, hops=hops, max_bonds=max_bonds, generator=generator)
    both = torch.cat([bonds, bonds.flip(0)], dim=1)
    bonded, hop = by_powers(both, atoms, hops)
    length = dict(zip([(i, j) for j, i in bonded.t().tolist()], hop.tolist(), strict=True))
    near: set[tuple[int, int]] = set()
    if k is not None:
        near = pairs(knn_graph(pos, k, cutoff=cutoff))
    elif cutoff is not None:
        near = pairs(radius_graph(pos, cutoff))
    found = pairs(got.edge_index)
    # In order, each once, with the type that the bonds give, whether drawn or near.
    ordered = [(i, j) for j, i in got.edge_index.t().tolist()]
    assert ordered == sorted(found)
    assert got.edge_type.tolist() == [length.get(pair, 0) for pair in ordered]
    assert near <= found <= near | set(length)
    assert got.left_out == len(set(length) - found)
    if max_bonds is None:
        assert found == near | set(length)
    else:
        for i in range(atoms):
            beside = sum(1 for pair in found - near if pair[0] == i)
            assert min(max_bonds, sum(1 for p in length if p[0] == i)) >= beside


def test_bonds_between_graphs_are_refused() -> None:
    bonds, batch = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match=r"expected bonds between nodes of one graph, got \[1, 2\] as number 1"):
        bonded_graph(torch.zeros(3, 3), bonds, batch=batch)
    assert bonded_graph(torch.zeros(3, 3), bonds[:, :1], k=2, batch=batch).edge_index.tolist() == [[1, 0], [0, 1]]


def test_no_bonds_and_no_atoms_give_no_edges() -> None:
    none = torch.empty(2, 0, dtype=torch.int64)
    for atoms in (0, 1, 3):
        edges = bonded_graph(torch.zeros(atoms, 3), none, hops=2, max_bonds=1)
        assert edges.edge_index.shape == (2, 0)
        assert edges.edge_type.shape == (0,)
        assert edges.left_out == 0
