"""Transforms that store neighbours by rank and by bonds."""

import copy

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData

from pyg_equiformer.data import BondGraph, KNNGraph, RadiusGraph
from pyg_equiformer.neighbors import bonded_graph, knn_graph

from .test_transforms import molecules

TRANSFORMS = [KNNGraph(3), KNNGraph(3, r=2.0), BondGraph(), BondGraph(2, hops=3), BondGraph(r=2.0), BondGraph(2, 2.0)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_edges_of_a_batch_are_those_computed_on_the_batch(transform: KNNGraph | BondGraph) -> None:
    graphs = molecules()
    batch = Batch.from_data_list([transform(graph) for graph in graphs])
    whole = transform(Batch.from_data_list(graphs))
    assert torch.equal(batch.neighbor_edge_index, whole.neighbor_edge_index)
    if isinstance(transform, KNNGraph):
        assert torch.equal(whole.neighbor_edge_index, knn_graph(whole.pos, 3, whole.batch, transform.r))
        return
    edges = bonded_graph(whole.pos, whole.edge_index, transform.k, whole.batch, cutoff=transform.r, hops=transform.hops)
    assert torch.equal(whole.neighbor_edge_index, edges.edge_index)
    assert torch.equal(batch.neighbor_edge_type, edges.edge_type)
    assert torch.equal(whole.neighbor_edge_type, edges.edge_type)


def test_the_data_of_the_caller_and_its_bonds_are_left_alone() -> None:
    graph = molecules((5,))[0]
    before = copy.deepcopy(graph)
    assert torch.equal(BondGraph(2)(graph).edge_index, before.edge_index)
    assert graph.keys() == before.keys()


def test_bonds_that_were_not_drawn_are_counted() -> None:
    star = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    data = Data(pos=torch.zeros(5, 3), edge_index=star)
    out = BondGraph(max_bonds=1, generator=torch.Generator().manual_seed(0))(data)
    assert out.left_out_bonds.tolist() == [3]
    assert out.neighbor_edge_index.shape == (2, 5)
    assert Batch.from_data_list([out, out]).left_out_bonds.tolist() == [3, 3]
    # What is near anyway is there, and known to be a bond.
    near = BondGraph(k=4, max_bonds=1)(data)
    assert near.left_out_bonds.tolist() == [0]
    assert near.neighbor_edge_type.sum() == 8


def test_bonds_may_be_in_another_field() -> None:
    data = Data(pos=torch.zeros(3, 3), bond_index=torch.tensor([[0], [2]]))
    assert BondGraph(bonds="bond_index")(data).neighbor_edge_index.tolist() == [[2, 0], [0, 2]]
    with pytest.raises(ValueError, match=r"expected data with bonds 'edge_index' \[2, M\].*name another field"):
        BondGraph()(data)


def test_data_that_do_not_fit_are_refused() -> None:
    graph = molecules((5,))[0]
    with pytest.raises(ValueError, match="has neighbours from RadiusGraph already: apply either"):
        KNNGraph(2)(RadiusGraph(3.0)(graph))
    with pytest.raises(ValueError, match="expected data with positions"):
        KNNGraph(2)(Data(x=torch.zeros(3)))
    with pytest.raises(ValueError, match="expected a torch_geometric Data or Batch, got HeteroData"):
        KNNGraph(2)(HeteroData())
    graph.cell, graph.pbc = torch.eye(3)[None], torch.tensor([[True, False, False]])
    with pytest.raises(ValueError, match="BondGraph knows no periodic images: use RadiusGraph"):
        BondGraph()(graph)
    graph.pbc[:] = False
    assert KNNGraph(2)(graph).neighbor_edge_index.shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KNNGraph(0), "expected k, neighbours of each atom"),
        (lambda: KNNGraph(2, r=0.0), "expected the cutoff r"),
        (lambda: BondGraph(hops=0), "expected hops, bonds between neighbours"),
        (lambda: BondGraph(max_bonds=0), "expected max_bonds, bonds drawn per atom"),
        (lambda: BondGraph(k=-1), "expected k, nearest neighbours"),
    ],
)
def test_settings_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_they_tell_what_they_do() -> None:
    assert repr(KNNGraph(16)) == "KNNGraph(k=16, r=None)"
    assert repr(BondGraph(4, hops=2)) == "BondGraph(k=4, r=None, hops=2, max_bonds=None, bonds='edge_index')"
