"""Potentials for LAMMPS's ML-IAP give the energy, forces and virial of the potential, from atoms and their ghosts."""

import itertools
import pickle

import numpy as np
import pytest
import torch

from pyg_equiformer import EnergyForces, Ensemble, periodic_radius_graph
from pyg_equiformer.export.ghosts import HOST_COLUMNS, fill_ghosts
from pyg_equiformer.export.mliap import MliapPotential

from .potentials import potential

ELEMENTS = [8, 14]


class Process:
    """What LAMMPS with KOKKOS hands to a unified model in one process, ghosts being images of its own atoms."""

    def __init__(self, pos, elems, cell, cutoff):
        images = [np.array(n) @ cell for n in itertools.product((-2, -1, 0, 1, 2), repeat=3) if n != (0, 0, 0)]
        ghosts = [(k, x + d) for d in images for k, x in enumerate(pos)]
        ghosts = [(k, x) for k, x in ghosts if (np.linalg.norm(pos - x, axis=1) < cutoff).any()]
        self.nlistatoms = len(pos)
        self.owner = np.array([*range(len(pos)), *(k for k, _ in ghosts)], dtype=int)
        places = np.array([*pos, *(x for _, x in ghosts)]).reshape(-1, 3)
        vectors = places[None] - pos[:, None]
        near = np.linalg.norm(vectors, axis=2) < cutoff
        near[np.arange(len(pos)), np.arange(len(pos))] = False
        self.pair_i, self.pair_j = (side.astype(np.int32) for side in np.nonzero(near))
        self.rij = vectors[near]
        self.elems = np.asarray(elems, dtype=np.int32)[self.owner]
        self.iatoms = np.arange(len(pos), dtype=np.int32)
        self.eatoms, self.energy = np.full(len(pos), np.nan), None
        self.f, self.virial = np.zeros((len(self.owner), 3)), np.zeros((3, 3))
        self.columns, self.calls = set(), {"forward": 0, "reverse": 0}

    def update_pair_forces(self, fij):
        np.add.at(self.f, self.pair_i, fij)
        np.add.at(self.f, self.pair_j, -fij)
        self.virial -= np.einsum("ea,eb->ab", self.rij, fij)

    def forward_exchange(self, rows, out, columns):
        self._count("forward", rows, out, columns)
        out.copy_(rows[torch.from_numpy(self.owner)])

    def reverse_exchange(self, rows, out, columns):
        self._count("reverse", rows, out, columns)
        out.zero_().index_add_(0, torch.from_numpy(self.owner), rows)

    def _count(self, way, rows, out, columns):
        assert rows.shape == out.shape == (len(self.owner), columns)
        assert rows.is_contiguous()
        assert out.is_contiguous()
        self.columns.add(columns)
        self.calls[way] += 1

    def forces(self):
        total = np.zeros((self.nlistatoms, 3))
        np.add.at(total, self.owner, self.f)
        return total


CELL = np.array([[5.4, 0.0, 0.0], [1.1, 5.1, 0.0], [-0.7, 0.4, 5.7]])


def atoms(number=6):
    rng = np.random.default_rng(5)
    grid = np.array(list(itertools.product((0.0, 0.5), repeat=3)))[:number]
    return (grid + rng.uniform(-0.08, 0.08, grid.shape)) @ CELL, rng.integers(0, 2, number)


def alone(model, pos, elems):
    """What the potential says of the same periodic atoms by itself."""
    z, cell = torch.tensor(ELEMENTS)[torch.from_numpy(elems)], torch.from_numpy(CELL)
    dtype = next(model.parameters()).dtype
    edges, shift = periodic_radius_graph(torch.from_numpy(pos), model.config.cutoff, cell, torch.tensor([True] * 3))
    with torch.no_grad():
        return model(
            z,
            torch.from_numpy(pos).to(dtype),
            edge_index=edges,
            edge_shift=shift.to(dtype),
            cell=cell.to(dtype).unsqueeze(0),
            stress=True,
            per_atom=True,
        )


def local(seed=0, **settings):
    """A potential of which each atom knows its share."""
    model = potential(seed, {8: -2041.3, 14: -7900.0}, **settings)
    return EnergyForces(model.model, energy_scale=model.energy_scale, atomic_energies=model.atomic_energies)


def assert_same(process, expected, atol):
    np.testing.assert_allclose(process.energy, expected["energy"].item(), atol=atol)
    np.testing.assert_allclose(process.eatoms, expected["energies"].numpy(), atol=atol)
    np.testing.assert_allclose(process.forces(), expected["forces"].numpy(), atol=atol)
    virial = -expected["stress"][0].numpy() * np.linalg.det(CELL)
    np.testing.assert_allclose(process.virial, virial, atol=10 * atol)
    assert np.abs(expected["forces"].numpy()).max() > 100 * atol


@pytest.mark.parametrize(
    "settings",
    [
        {"num_layers": 1},
        {"num_layers": 3},
        {"num_layers": 2, "attention": "dot", "attend_self": True},
        {"num_layers": 2, "head": "attention", "norm": "rms"},
    ],
    ids=["one layer", "three layers", "dot", "attention head"],
)
def test_atoms_and_ghosts_give_energy_forces_and_virial_of_the_periodic_potential(settings):
    model = local(**settings)
    pos, elems = atoms()
    process = Process(pos, elems, CELL, model.config.cutoff)
    MliapPotential(model, ELEMENTS).compute_forces(process)
    assert_same(process, alone(model, pos, elems), atol=1e-9)


def test_potentials_of_single_precision_are_served_too():
    model = local(num_layers=2)
    model.model.float()
    pos, elems = atoms()
    process = Process(pos, elems, CELL, model.config.cutoff)
    MliapPotential(model, ELEMENTS).compute_forces(process)
    assert_same(process, alone(model, pos, elems), atol=2e-4)


def test_the_mean_of_a_committee_counts():
    members = [local(seed, num_layers=2) for seed in (0, 1)]
    pos, elems = atoms()
    process = Process(pos, elems, CELL, members[0].config.cutoff)
    MliapPotential(Ensemble(members), ELEMENTS).compute_forces(process)
    each = [alone(member, pos, elems) for member in members]
    assert_same(process, {k: sum(e[k] for e in each) / 2 for k in each[0]}, atol=1e-9)


@pytest.mark.parametrize("place", ["pairs", "ghosts", "nothing"])
def test_processes_exchange_equally_often_whatever_they_hold(place):
    """Another number of calls in one process would leave the others waiting forever."""
    model = MliapPotential(local(num_layers=2), ELEMENTS)
    full = Process(*atoms(), CELL, 5.0)
    model.compute_forces(full)
    number = 0 if place == "nothing" else 2
    process = Process(atoms(number)[0], np.zeros(number, int), CELL, 5.0 if place == "pairs" else 1.0)
    if place == "ghosts":  # of atoms elsewhere, none of which is near its own
        process.nlistatoms, process.iatoms, process.eatoms = 0, process.iatoms[:0], process.eatoms[:0]
    assert (len(process.pair_i) > 0) == (place == "pairs")
    if place != "pairs":
        process.pair_i = process.pair_j = process.rij = None  # LAMMPS has no memory for what was never there
    if place == "nothing":
        process.elems = process.iatoms = None
    model.compute_forces(process)
    assert process.calls == full.calls
    assert process.calls["forward"] == process.calls["reverse"] > 0


def test_exchanges_stay_within_the_buffers_of_lammps_on_a_cpu():
    process = Process(*atoms(), CELL, 5.0)
    MliapPotential(local(num_layers=2), ELEMENTS).compute_forces(process)
    assert max(process.columns) <= HOST_COLUMNS


def test_gradients_of_ghosts_go_to_their_owners():
    process = Process(*atoms(3), CELL, 3.0)
    n = len(process.owner)
    x = [torch.randn(n, d, c, dtype=torch.float64, requires_grad=True) for d, c in ((1, 4), (3, 2))]
    weights = [torch.randn_like(block) for block in x]
    filled = fill_ghosts(x, process)
    by_rows = [block[torch.from_numpy(process.owner)] for block in x]
    for got, wanted in zip(filled, by_rows):
        assert torch.equal(got, wanted)
    got = torch.autograd.grad(sum((a * w).sum() for a, w in zip(filled, weights)), x)
    wanted = torch.autograd.grad(sum((a * w).sum() for a, w in zip(by_rows, weights)), x)
    for a, b in zip(got, wanted):
        torch.testing.assert_close(a, b)


def test_the_file_holds_the_potential_and_is_replaced_as_a_whole(tmp_path):
    model = MliapPotential(local(num_layers=2), ELEMENTS)
    model.save(tmp_path / "new" / "model.pkl")
    again = pickle.loads((tmp_path / "new" / "model.pkl").read_bytes())
    processes = [Process(*atoms(), CELL, 5.0) for _ in range(2)]
    for one, process in zip((model, again), processes):
        one.compute_forces(process)
    assert again.element_types == ["O", "Si"]
    assert processes[0].energy == processes[1].energy
    assert np.array_equal(processes[0].f, processes[1].f)
    with pytest.raises(ValueError, match=r"ends in \.pkl"):
        model.save(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("settings", "numbers", "message"),
    [
        ({"norm": "graph"}, {}, "norm='graph'"),
        ({"linear_attention_heads": 2}, {}, "linear_attention_heads=2"),
        ({"num_layers": 2, "reversible": True}, {}, "reversible=True"),
        ({}, {"energy_shift": 0.5}, "energy_shift=0.5; take LammpsPotential"),
        ({"output_mean": 1.5}, {}, "output_mean=1.5"),
        ({"num_positions": 9}, {}, "further inputs"),
    ],
)
def test_what_a_process_cannot_know_is_refused(settings, numbers, message):
    model = EnergyForces(potential(**settings).model, **numbers)
    with pytest.raises(ValueError, match=message):
        MliapPotential(model)


def test_unknown_elements_and_models_of_other_outputs_are_refused():
    with pytest.raises(ValueError, match=r"\[26\], which it does not know"):
        MliapPotential(local(), [8, 26])
    with pytest.raises(ValueError, match="expected a model of energies"):
        MliapPotential(local().model)


def test_a_lammps_without_exchanges_is_told_of():
    class Old:
        pass

    with pytest.raises(RuntimeError, match="lmp -k on -sf kk"):
        MliapPotential(local(), ELEMENTS).compute_forces(Old())


def test_positions_that_are_not_finite_are_refused():
    process = Process(*atoms(), CELL, 5.0)
    process.rij[3, 1] = np.nan
    with pytest.raises(ValueError, match="expected finite positions"):
        MliapPotential(local(), ELEMENTS).compute_forces(process)
