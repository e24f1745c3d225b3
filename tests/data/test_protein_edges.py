import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from pyg_equiformer import radius_graph
from pyg_equiformer.data.protein_edges import ProteinGraph, sequence_neighbors, sequence_separation


def test_each_separation_up_to_three_has_a_feature_and_all_others_share_one():
    position = torch.tensor([5, 2, 3, 4, 5, 6, 7, 8, 9, 0])
    edges = torch.stack([torch.arange(1, 10), torch.zeros(9, dtype=torch.long)])
    assert sequence_separation(position, edges).argmax(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7]


def slow_neighbors(position, batch):
    return {
        (i, j)
        for i in range(len(position))
        for j in range(len(position))
        if i != j and batch[i] == batch[j] and abs(int(position[i] - position[j])) <= 1
    }


def as_pairs(edge_index):
    pairs = list(zip(*edge_index.tolist()))
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


@given(st.lists(st.tuples(st.integers(-3, 9), st.integers(0, 2)), max_size=12))
def test_neighbors_along_the_sequence_are_those_of_two_loops_in_any_order(atoms):
    position = torch.tensor([p for p, _ in atoms], dtype=torch.long)
    batch = torch.tensor([b for _, b in atoms], dtype=torch.long)
    assert as_pairs(sequence_neighbors(position, batch)) == slow_neighbors(position, batch)
    assert as_pairs(sequence_neighbors(position)) == slow_neighbors(position, torch.zeros_like(batch))


def test_edges_are_near_pairs_and_neighbors_along_the_sequence_once_each_and_batch_like_single_chains():
    torch.manual_seed(0)
    chains = [Data(pos=4 * torch.randn(n, 3), seq_pos=torch.arange(n) // 2) for n in (9, 12)]
    graphs = [ProteinGraph(4.0)(chain) for chain in chains]
    assert "edge_index" not in chains[0]
    batch = Batch.from_data_list(graphs)
    near = as_pairs(radius_graph(batch.pos, 4.0, batch.batch))
    along = slow_neighbors(batch.seq_pos, batch.batch)
    assert not along <= near
    assert as_pairs(batch.edge_index) == near | along
    assert torch.equal(batch.edge_attr, torch.cat([g.edge_attr for g in graphs]))
    assert batch.edge_attr.dtype == batch.pos.dtype
    whole = ProteinGraph(4.0)(Batch.from_data_list(chains))
    assert torch.equal(whole.edge_index, batch.edge_index)
    assert torch.equal(whole.edge_attr, batch.edge_attr)


def test_other_data_is_refused():
    with pytest.raises(ValueError, match="'seq_pos'"):
        ProteinGraph(4.0)(Data(pos=torch.zeros(2, 3)))
