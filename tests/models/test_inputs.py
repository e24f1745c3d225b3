"""Stored edges, shifts of periodic images, and what is refused."""

import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.data import RadiusGraph

from .conftest import tiny


def crystal() -> Data:
    pos = torch.tensor([[0.0, 0.0, 0.0], [1.5, 1.6, 1.4]], dtype=torch.float64)
    cell = torch.diag(torch.tensor([3.0, 3.2, 2.9], dtype=torch.float64))[None]
    return Data(z=torch.tensor([11, 17]), pos=pos, cell=cell, pbc=torch.tensor([[True, True, False]]))


def test_stored_shifts_are_used_and_equal_those_that_are_passed():
    model, data = tiny(num_layers=1), RadiusGraph(5.0)(crystal())
    edges = {"edge_index": data.radius_edge_index, "edge_shift": data.radius_edge_shift}
    assert torch.equal(model(data), model(data.z, data.pos, **edges))
    # Given beside the data, they replace what is stored.
    assert torch.equal(model(crystal(), **edges), model(data))
    without = model(data.z, data.pos)
    assert (model(data) - without).abs() > 1e-6


def test_atoms_moved_by_cell_vectors_give_the_same_output():
    model, data = tiny(num_layers=1), crystal()
    moved = data.clone()
    moved.pos[1] += 2 * data.cell[0, 0] - data.cell[0, 1]
    assert torch.allclose(model(RadiusGraph(5.0)(moved)), model(RadiusGraph(5.0)(data)), atol=1e-12)


def test_shifts_follow_the_precision_of_the_positions():
    data = RadiusGraph(5.0)(crystal())
    data.radius_edge_shift = data.radius_edge_shift.float()
    assert tiny(num_layers=1)(data).dtype == torch.float64


def test_edges_of_periodic_data_without_shifts_are_refused():
    model, data = tiny(num_layers=1), crystal()
    stored = RadiusGraph(5.0)(data)
    with pytest.raises(ValueError, match=r"edges of a periodic structure need edge_shift.*RadiusGraph\(5.0\)"):
        model(data, edge_index=stored.radius_edge_index)
    del stored.radius_edge_shift
    with pytest.raises(ValueError, match="edges of a periodic structure need edge_shift"):
        model(stored)
    data.pbc[:] = False
    assert model(data, edge_index=stored.radius_edge_index).shape == (1, 1)


def test_shifts_that_belong_to_no_edges_are_refused():
    model, data = tiny(num_layers=1), RadiusGraph(5.0)(crystal())
    with pytest.raises(ValueError, match="edge_shift needs the edge_index"):
        model(data.z, data.pos, edge_shift=data.radius_edge_shift)
    with pytest.raises(ValueError, match=r"edge_shift must have shape \[\d+, 3\], got \[4, 3\]"):
        model(data.z, data.pos, edge_index=data.radius_edge_index, edge_shift=torch.zeros(4, 3))
