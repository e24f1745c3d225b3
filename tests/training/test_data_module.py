import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.training import data_module
from pyg_equiformer.training.data_module import (
    Structures,
    fit_energy_scale,
    split_at_random,
)


def molecule(z, energy=0.0, force=1.0):
    n = len(z)
    return Data(
        z=torch.tensor(z),
        pos=torch.arange(3.0 * n).reshape(n, 3),
        energy=torch.tensor([energy], dtype=torch.float64),
        forces=torch.full((n, 3), force),
    )


def serve(structures, **options):
    return data_module.StructureDataModule(structures, cutoff=6.0, **options)


def numbered(count):
    return [molecule([1, 1], energy=float(i)) for i in range(count)]


def energies(structures):
    return [s.energy.item() for s in structures]


def test_split_is_disjoint_complete_and_seeded():
    first, second, rest = split_at_random(30, [5, 7], seed=4)
    assert [len(first), len(second), len(rest)] == [5, 7, 18]
    assert sorted(first + second + rest) == list(range(30))
    assert split_at_random(30, [5, 7], seed=4) == [first, second, rest]
    assert split_at_random(30, [5, 7], seed=5) != [first, second, rest]


def test_split_does_not_touch_the_global_random_state():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    split_at_random(10, [2], seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_sets_are_disjoint_and_follow_the_seed():
    data = serve(Structures(numbered(40)), valid_fraction=0.1, test_fraction=0.25, seed=1)
    parts = [energies(part) for part in (data.train, data.valid, data.test)]
    assert [len(part) for part in parts] == [26, 4, 10]
    assert sorted(e for part in parts for e in part) == list(range(40))
    again = serve(Structures(numbered(40)), valid_fraction=0.1, test_fraction=0.25, seed=1)
    assert [energies(part) for part in (again.train, again.valid, again.test)] == parts


def test_given_sets_are_used_whole():
    test = numbered(3)
    data = serve(Structures(numbered(10), valid=numbered(2), test=test))
    assert [len(data.train), len(data.valid), len(data.test)] == [10, 2, 3]
    assert energies(data.test) == energies(test)


def test_the_order_of_batches_follows_the_seed():
    def order(seed):
        data = serve(Structures(numbered(20)), batch_size=4, seed=seed)
        return [batch.energy.tolist() for _ in range(2) for batch in data.train_dataloader()]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_neighbours_are_found_once_and_averages_are_those_of_the_training_set():
    chain = molecule([1, 1, 1])  # neighbours are 5.2 Å apart: the ends do not see each other
    data = serve(Structures([chain, molecule([1, 1]), molecule([1])], valid=[chain], test=[chain]))
    assert data.train[0].radius_edge_index.shape == (2, 4)
    assert data.test[0].radius_edge_index.shape == (2, 4)
    assert not hasattr(chain, "radius_edge_index")
    assert data.averages() == {"avg_num_nodes": pytest.approx(2.0), "avg_degree": pytest.approx(1.0)}


def test_reference_energies_are_least_squares_in_float64():
    carbon, hydrogen = -1036.123456789, -13.987654321
    alkanes = [molecule([6] * n + [1] * (2 * n + 2), n * carbon + (2 * n + 2) * hydrogen) for n in range(1, 5)]
    fit = fit_energy_scale(alkanes)
    assert fit.atomic_energies[6] == pytest.approx(carbon, rel=1e-12)
    assert fit.atomic_energies[1] == pytest.approx(hydrogen, rel=1e-12)


def test_clusters_of_one_molecule_get_right_sums():
    water = [molecule([8, 1, 1] * n, -2000.0 * n) for n in range(1, 4)]
    fit = fit_energy_scale(water)
    assert fit.atomic_energies[8] + 2 * fit.atomic_energies[1] == pytest.approx(-2000.0, rel=1e-12)


def test_the_scale_is_the_rms_force_component_or_else_the_spread_of_energies():
    assert fit_energy_scale([molecule([1, 1], force=-2.5)]).scale == pytest.approx(2.5)
    still = [molecule([1, 1], energy, force=0.0) for energy in (1.0, 3.0)]
    assert fit_energy_scale(still).scale == pytest.approx(1.0)
    assert fit_energy_scale([molecule([1], force=0.0)]).scale == 1.0


def test_missing_and_infinite_labels_and_empty_sets_are_errors():
    unlabelled = Data(z=torch.tensor([1]), pos=torch.zeros(1, 3), energy=torch.zeros(1))
    with pytest.raises(ValueError, match="structure 1 of the training set has no forces"):
        serve(Structures([molecule([1]), unlabelled]))
    with pytest.raises(ValueError, match="structure 0 of the test set has energy that are NaN or infinite"):
        serve(Structures(numbered(3), test=[molecule([1], energy=float("nan"))]))
    with pytest.raises(ValueError, match="the training set is empty"):
        serve(Structures([]))
    with pytest.raises(ValueError, match="the test set is empty"):
        serve(Structures(numbered(3), test=[]))
    with pytest.raises(ValueError, match="cannot set 1 \\+ 1 of 2 structures apart"):
        serve(Structures(numbered(2)))
