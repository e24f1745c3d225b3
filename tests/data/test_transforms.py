"""The transform that stores neighbours: the same edges in a batch as computed on the fly."""

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData, InMemoryDataset
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import BaseTransform, Compose, RandomRotate

from pyg_equiformer import keys
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.neighbors import periodic_radius_graph, radius_graph

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def molecules(sizes: tuple[int, ...] = (5, 1, 12, 3), device: str = "cpu") -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for size in sizes:
        pos = torch.rand(size, 3, generator=generator, dtype=torch.float64).to(device) * 4
        bonds = torch.stack([torch.arange(size - 1), torch.arange(1, size)]).to(device)
        graphs.append(Data(z=torch.ones(size, dtype=torch.int64, device=device), pos=pos, edge_index=bonds))
    return graphs


def check(batch: Batch, r: float, limit: int | None = None) -> None:
    expected = radius_graph(batch.pos, r, batch.batch, limit)
    assert torch.equal(batch[keys.RADIUS_EDGE_INDEX], expected)
    cutoff = batch[keys.RADIUS_CUTOFF]
    assert torch.equal(cutoff, torch.full((batch.num_graphs,), r, dtype=torch.float64, device=cutoff.device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("limit", [None, 3])
def test_edges_of_a_batch_are_those_computed_on_the_batch(device: str, limit: int | None) -> None:
    transform = RadiusGraph(2.5, max_num_neighbors=limit)
    check(Batch.from_data_list([transform(graph) for graph in molecules(device=device)]), 2.5, limit)


def test_a_batch_can_be_transformed_as_a_whole() -> None:
    check(RadiusGraph(2.5)(Batch.from_data_list(molecules())), 2.5)


def test_data_with_a_batch_vector_of_its_own_gets_one_cutoff_per_graph() -> None:
    data = RadiusGraph(2.5)(Data(pos=torch.zeros(3, 3), batch=torch.tensor([0, 1, 1])))
    assert data.radius_edge_index.tolist() == [[2, 1], [1, 2]]
    assert data.radius_cutoff.tolist() == [2.5, 2.5]


def test_a_data_loader_collates_stored_edges() -> None:
    transform = RadiusGraph(3.0)
    graphs = [transform(graph) for graph in molecules((4, 30, 9, 1, 6))]
    batches = list(DataLoader(graphs, batch_size=3, shuffle=True))
    assert sum(batch.num_graphs for batch in batches) == 5
    for batch in batches:
        check(batch, 3.0)


class Molecules(InMemoryDataset):
    def __init__(self, transform: BaseTransform) -> None:
        super().__init__(None, transform)
        self.data, self.slices = self.collate(molecules((5, 1, 700, 3)))


@pytest.mark.parametrize("workers", [0, 1])
def test_it_works_in_a_dataset_after_other_transforms_and_in_worker_processes(workers: int) -> None:
    dataset = Molecules(Compose([RandomRotate(180), RadiusGraph(1.0)]))
    assert dataset[2].radius_edge_index.shape[1] > 0  # the parent process has used its threads by now
    for batch in DataLoader(dataset, batch_size=4, num_workers=workers):
        check(batch, 1.0)


def test_bonds_and_the_original_data_are_left_alone() -> None:
    graph = molecules((6,))[0]
    bonds = graph.edge_index.clone()
    transformed = RadiusGraph(2.5)(graph)
    assert torch.equal(transformed.edge_index, bonds)
    assert keys.RADIUS_EDGE_INDEX not in graph
    assert transformed.radius_edge_index.shape[1] != bonds.shape[1]


def test_a_graph_taken_out_of_a_batch_has_its_own_edges_again() -> None:
    graphs = [RadiusGraph(2.5)(graph) for graph in molecules()]
    for graph, original in zip(Batch.from_data_list(graphs).to_data_list(), graphs, strict=True):
        assert torch.equal(graph.radius_edge_index, original.radius_edge_index)


def test_repr_tells_the_cutoff() -> None:
    assert repr(RadiusGraph(5)) == "RadiusGraph(r=5.0, max_num_neighbors=None)"


@pytest.mark.parametrize(("r", "limit"), [(0.0, None), (float("nan"), None), (5.0, 0)])
def test_bad_arguments_are_refused_when_the_transform_is_made(r: float, limit: int | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        RadiusGraph(r, limit)


def test_data_without_positions_is_refused_with_the_fields_it_has() -> None:
    with pytest.raises(ValueError, match=r"positions 'pos'.*\['z'\]"):
        RadiusGraph(5.0)(Data(z=torch.ones(3, dtype=torch.int64)))
    with pytest.raises(ValueError, match="expected a torch_geometric Data or Batch, got HeteroData"):
        RadiusGraph(5.0)(HeteroData())


CUBE = {"cell": torch.eye(3, dtype=torch.float64)[None] * 3.0, "pbc": torch.ones(1, 3, dtype=torch.bool)}
BOX = {"cell": torch.zeros(1, 3, 3, dtype=torch.float64), "pbc": torch.zeros(1, 3, dtype=torch.bool)}


def test_periodic_data_gets_images_and_their_shifts() -> None:
    graph = molecules((4,))[0]
    data = RadiusGraph(4.0)(Data(z=graph.z, pos=graph.pos, **CUBE))
    expected = periodic_radius_graph(graph.pos, 4.0, CUBE["cell"][0], CUBE["pbc"][0])
    assert torch.equal(data.radius_edge_index, expected[0])
    assert torch.equal(data.radius_edge_shift, expected[1])
    assert data.radius_edge_index.shape[1] > 4 * 3
    assert RadiusGraph(4.0, max_num_neighbors=5)(Data(pos=graph.pos, **CUBE)).radius_edge_index.shape[1] == 4 * 5


@pytest.mark.parametrize("order", [slice(None), torch.randperm(18, generator=torch.Generator().manual_seed(2))])
def test_a_mixed_batch_as_a_whole_has_the_edges_of_its_structures(order: slice | torch.Tensor) -> None:
    graphs = molecules((5, 1, 12))
    mixed = [Data(z=g.z, pos=g.pos, **kind) for g, kind in zip(graphs, (CUBE, BOX, BOX), strict=True)]
    one_by_one = Batch.from_data_list([RadiusGraph(2.5)(data) for data in mixed])
    assert one_by_one.radius_edge_shift.shape == (one_by_one.radius_edge_index.shape[1], 3)
    whole = Batch.from_data_list(mixed)
    place = torch.empty(18, dtype=torch.int64)
    place[torch.arange(18)[order]] = torch.arange(18)
    data = RadiusGraph(2.5)(
        Data(pos=whole.pos[order], batch=whole.batch[order], cell=whole.cell, pbc=whole.pbc, z=whole.z[order])
    )

    def told(edge_index: torch.Tensor, shift: torch.Tensor) -> list[tuple[float, ...]]:
        return sorted(tuple(row) for row in torch.cat([edge_index.T.double(), shift], dim=1).tolist())

    expected = told(place[one_by_one.radius_edge_index], one_by_one.radius_edge_shift)
    assert told(data.radius_edge_index, data.radius_edge_shift) == expected
    assert (data.radius_edge_index[1].diff() >= 0).all()


def test_a_molecule_without_cell_fields_gets_no_shift_and_one_in_a_box_a_zero_shift() -> None:
    graph = molecules((5,))[0]
    assert keys.RADIUS_EDGE_SHIFT not in RadiusGraph(2.5)(graph)
    boxed = RadiusGraph(2.5)(Data(pos=graph.pos, cell=CUBE["cell"], pbc=BOX["pbc"]))
    assert torch.equal(boxed.radius_edge_index, radius_graph(graph.pos, 2.5))
    assert boxed.radius_edge_shift.abs().sum() == 0
    for fields in ({"cell": BOX["cell"]}, {"pbc": BOX["pbc"]}):
        assert RadiusGraph(2.5)(Data(pos=graph.pos, **fields)).radius_edge_shift.abs().sum() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": CUBE["cell"]}, "has a cell but no pbc: set data.pbc"),
        ({"pbc": CUBE["pbc"]}, "has pbc but no cell: set data.cell"),
        ({"cell": CUBE["cell"][0], "pbc": CUBE["pbc"]}, r"cell of shape \[1, 3, 3\], got \[3, 3\]"),
        ({"cell": CUBE["cell"], "pbc": CUBE["pbc"][0]}, r"pbc of shape \[1, 3\], got \[3\]"),
    ],
)
def test_cell_and_pbc_that_do_not_fit_are_refused(fields: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RadiusGraph(2.5)(Data(pos=torch.zeros(2, 3), **fields))


def test_a_crystal_with_an_atom_on_both_faces_of_its_cell_is_refused() -> None:
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 1.0, 1.0]])
    data = Data(pos=pos, cell=5 * torch.eye(3).unsqueeze(0), pbc=torch.tensor([[True, True, False]]))
    with pytest.raises(ValueError, match=r"atoms 0 and 1 \(moved by \[0.0, -5.0, 0.0\] Å\) are at one place"):
        RadiusGraph(4.0)(data)
    data.pos[1] += 0.5
    assert RadiusGraph(4.0)(data).radius_edge_index.shape[1] > 0
