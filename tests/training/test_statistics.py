import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.data.structure_sets import ENERGY, FORCES, Target
from pyg_equiformer.training.statistics import LabelSums, collect_statistics


def molecule(z, energy=0.0, force=1.0):
    n = len(z)
    return Data(
        z=torch.tensor(z),
        pos=torch.zeros(n, 3),
        energy=torch.tensor([energy], dtype=torch.float64),
        forces=torch.full((n, 3), force),
    )


def collect(structures):
    return collect_statistics(structures, (ENERGY, FORCES))


def test_reference_energies_are_least_squares_in_float64():
    carbon, hydrogen = -1036.123456789, -13.987654321
    alkanes = [molecule([6] * n + [1] * (2 * n + 2), n * carbon + (2 * n + 2) * hydrogen) for n in range(1, 5)]
    fit = collect(alkanes).element_references("energy")
    assert fit[6] == pytest.approx(carbon, rel=1e-12)
    assert fit[1] == pytest.approx(hydrogen, rel=1e-12)


def test_grouping_by_composition_gives_the_fit_over_all_structures():
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(60):
        c, h, o = rng.integers(1, 4), rng.integers(1, 5), rng.integers(0, 2)
        structures.append(molecule([6] * c + [1] * h + [8] * o, -1000.0 * c - 13.0 * h - 2000.0 * o + rng.normal()))
    elements = (1, 6, 8)
    counts = np.array([[int((s.z == z).sum()) for z in elements] for s in structures], dtype=float)
    energies = np.array([float(s.energy) for s in structures])
    expected = np.linalg.lstsq(counts, energies, rcond=None)[0]
    found = collect(structures)
    fit = found.element_references("energy")
    assert [fit[z] for z in elements] == pytest.approx(expected, rel=1e-10)
    assert found.spread("energy", fit) == pytest.approx((energies - counts @ expected).std(), rel=1e-9)


def test_clusters_of_one_molecule_get_right_sums():
    fit = collect([molecule([8, 1, 1] * n, -2000.0 * n) for n in range(1, 4)]).element_references("energy")
    assert fit[8] + 2 * fit[1] == pytest.approx(-2000.0, rel=1e-12)


def test_sums_equal_numpy_far_from_zero_and_leave_missing_labels_out():
    rng = np.random.default_rng(1)
    values = -4e5 + rng.normal(size=500)
    sums = LabelSums()
    for part in np.split(values, 10):
        sums.add(np.append(part, np.nan))
    assert sums.count == 500
    assert sums.mean == pytest.approx(values.mean(), rel=1e-14)
    assert sums.std == pytest.approx(values.std(), rel=1e-9)
    assert sums.rms == pytest.approx(np.sqrt((values**2).mean()), rel=1e-12)


def test_sizes_elements_and_the_force_scale_are_those_of_the_structures():
    chain = molecule([1, 1, 6], force=-2.0)
    chain.radius_edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    pair = molecule([1, 1], force=2.0)
    pair.radius_edge_index = torch.tensor([[0, 1], [1, 0]])
    found = collect([chain, pair])
    assert found.elements == (1, 6)
    assert found.num_atoms.tolist() == [3, 2]
    assert found.num_edges.tolist() == [4, 2]
    assert found.averages() == {"avg_num_nodes": 2.5, "avg_degree": pytest.approx(6 / 5)}
    assert found.labels["forces"].rms == pytest.approx(2.0)
    assert found.labels["forces"].mean == pytest.approx(-0.4)
    assert collect_statistics([chain, pair], (ENERGY,), count_edges=1).averages()["avg_degree"] == pytest.approx(4 / 3)


def test_lone_atoms_have_a_degree_to_divide_by():
    lone = molecule([1])
    lone.radius_edge_index = torch.zeros(2, 0, dtype=torch.long)
    assert collect([lone]).averages()["avg_degree"] == 1.0


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="at least one structure"):
        collect([])
    unknown = Data(z=torch.tensor([1]), pos=torch.zeros(1, 3), gap=torch.tensor([torch.nan]))
    with pytest.raises(ValueError, match="no known gap at all"):
        collect_statistics([unknown], (Target("gap", "graph_scalar"),))


def test_the_fingerprint_tells_other_data():
    a, b = collect([molecule([1], 1.0)]), collect([molecule([1], 1.1)])
    assert a.fingerprint() == collect([molecule([1], 1.0)]).fingerprint()
    assert a.fingerprint() != b.fingerprint()
