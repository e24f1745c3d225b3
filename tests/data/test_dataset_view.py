import pickle

import pytest
import torch
from torch_geometric.data import Data, OnDiskDataset
from torch_geometric.loader import DataLoader

from pyg_equiformer.data import wrap_dataset
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, Target

GAP = Target("gap", "graph_scalar", "eV")
CHARGES = Target("charges", "node_scalar")


def structure(index: int) -> Data:
    n = 2 + index % 3
    generator = torch.Generator().manual_seed(index)
    return Data(
        z=torch.arange(1, n + 1),
        pos=torch.rand(n, 3, generator=generator),
        gap=torch.tensor([0.25 * index], dtype=torch.float64),
        charges=torch.rand(n, generator=generator),
        name=f"molecule {index}",
    )


@pytest.fixture
def on_disk(tmp_path):
    dataset = OnDiskDataset(str(tmp_path), log=False)
    dataset.extend([structure(index) for index in range(7)])
    return dataset


def test_structures_of_an_on_disk_data_set_are_read_one_by_one_with_their_labels_only(on_disk):
    found = wrap_dataset(on_disk, (GAP, CHARGES), "mine")
    assert (len(found), found.name, found.streamed) == (7, "mine", True)
    for index, data in enumerate(found.structures):
        expected = structure(index)
        assert set(data.keys()) == {"z", "pos", "gap", "charges"}
        for key in ("z", "pos", "gap", "charges"):
            assert torch.equal(data[key], expected[key])
    assert len(found.structures[2:5]) == 3
    with pytest.raises(IndexError, match="expected -7 to 6, got 7"):
        found.structures[7]


def test_two_worker_processes_read_an_on_disk_data_set(on_disk):
    structures = wrap_dataset(on_disk, (GAP,)).structures
    loader = DataLoader(structures, batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert torch.cat([batch.gap for batch in loader]).tolist() == [0.25 * index for index in range(7)]
    assert structures[3].gap.item() == 0.75  # the connection of this process still works


def test_a_pickle_opens_an_on_disk_data_set_anew_and_leaves_this_one_open(on_disk):
    structures = wrap_dataset(on_disk, (GAP,)).structures
    assert pickle.loads(pickle.dumps(structures))[4].gap.item() == 1.0
    assert structures[4].gap.item() == 1.0


def test_labels_get_the_leading_axis_that_batches_need():
    data = structure(0)
    data.gap, data.mu, data.forces = torch.tensor(3.0), torch.ones(3), torch.ones(2, 3)
    targets = (GAP, Target("mu", "graph_vector", "D"), FORCES)
    (found,) = wrap_dataset([data], targets).structures
    assert [tuple(found[name].shape) for name in ("gap", "mu", "forces")] == [(1,), (1, 3), (2, 3)]


def changed(**fields):
    data = structure(0)
    for name, value in fields.items():
        data[name] = value
    return [data]


@pytest.mark.parametrize(
    ("dataset", "targets", "message"),
    [
        ([], (GAP,), "expected at least one structure, got an empty list"),
        (3, (GAP,), r"expected len\(dataset\) and dataset\[index\], got int"),
        ([{"z": 1}], (GAP,), "item 0 of list: expected a torch_geometric Data, got dict"),
        (changed(), (ENERGY,), "expected energy as a tensor of shape .*found only"),
        (changed(gap=torch.ones(2)), (GAP,), r"expected gap of shape \(1,\), got \(2,\)"),
        (changed(charges=torch.ones(5)), (CHARGES,), r"expected charges of shape \(2,\), got \(5,\)"),
        (changed(pos=torch.ones(2, 2)), (GAP,), r"expected pos of shape \(2, 3\)"),
        (changed(z=torch.ones(2)), (GAP,), r"expected atomic numbers z \[n\] int64"),
        (changed(cell=torch.eye(3)[None]), (GAP,), "expected pbc as a tensor"),
    ],
)
def test_data_sets_that_do_not_fit_are_refused_at_once(dataset, targets, message):
    with pytest.raises(ValueError, match=message):
        wrap_dataset(dataset, targets)
