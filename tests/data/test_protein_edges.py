import pytest
import torch
from torch_geometric.data import Batch, Data

from pyg_equiformer import radius_graph
from pyg_equiformer.data.protein_edges import ProteinGraph, sequence_separation


def test_each_separation_up_to_three_has_a_feature_and_all_others_share_one():
    position = torch.tensor([5, 2, 3, 4, 5, 6, 7, 8, 9, 0])
    edges = torch.stack([torch.arange(1, 10), torch.zeros(9, dtype=torch.long)])
    assert sequence_separation(position, edges).argmax(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7]


def test_the_graph_is_that_of_the_positions_and_batches_like_single_chains():
    torch.manual_seed(0)
    chains = [Data(pos=2 * torch.randn(n, 3), seq_pos=torch.arange(n)) for n in (5, 7)]
    graphs = [ProteinGraph(4.0)(chain) for chain in chains]
    assert "edge_index" not in chains[0]
    batch = Batch.from_data_list(graphs)
    assert torch.equal(batch.edge_index, radius_graph(batch.pos, 4.0, batch.batch))
    assert torch.equal(batch.edge_attr, torch.cat([g.edge_attr for g in graphs]))
    assert batch.edge_attr.dtype == batch.pos.dtype


def test_other_data_is_refused():
    with pytest.raises(ValueError, match="'seq_pos'"):
        ProteinGraph(4.0)(Data(pos=torch.zeros(2, 3)))
