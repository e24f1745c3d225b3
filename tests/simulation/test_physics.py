"""Trained models in ASE's own algorithms: what must be conserved is, and what ASE documents works."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.io import Trajectory
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons
from ase.units import GPa, fs, kB

from pyg_equiformer import EnergyForces, EquiformerCalculator

from ..models.conftest import tiny
from .conftest import copper, water


def moving_water(calculator, kelvin: float = 600.0) -> Atoms:
    """Water with velocities that also turn it and carry it away."""
    atoms = water()
    rng = np.random.default_rng(3)
    atoms.set_momenta(np.sqrt(kB * kelvin * atoms.get_masses())[:, None] * rng.standard_normal((3, 3)))
    atoms.calc = calculator
    return atoms


def energies(atoms: Atoms, timestep: float, steps: int) -> np.ndarray:
    found = []
    dynamics = VelocityVerlet(atoms, timestep * fs)
    dynamics.attach(lambda: found.append(atoms.get_total_energy()))
    dynamics.run(steps)
    return np.array(found)


def test_the_energy_error_of_nve_falls_with_the_square_of_the_time_step(calculator):
    coarse = energies(moving_water(calculator), 0.5, 100)
    fine = energies(moving_water(calculator), 0.25, 200)
    assert np.ptp(coarse) > 1e-6
    assert coarse.std() / fine[::2].std() == pytest.approx(4, rel=0.1)


def test_momentum_and_angular_momentum_are_conserved(calculator):
    atoms = moving_water(calculator)
    momentum, angular = atoms.get_momenta().sum(0), atoms.get_angular_momentum()
    energies(atoms, 0.5, 60)
    assert np.abs(momentum).max() > 0.1
    assert np.abs(angular).max() > 0.1
    assert np.allclose(atoms.get_momenta().sum(0), momentum, atol=1e-11)
    assert np.allclose(atoms.get_angular_momentum(), angular, atol=1e-10)


def test_energy_is_conserved_while_atoms_cross_the_cutoff():
    """Three atoms that fly apart through each other's cutoffs: what is lost falls with the time step squared."""
    model = EnergyForces(tiny(num_layers=1, cutoff=3.0), energy_scale=30.0)
    lost = []
    for timestep in (0.5, 0.25):
        atoms = Atoms("OCO", [[0, 0, 0], [2.6, 0.2, 0], [0.3, 2.7, 0.2]])
        atoms.set_velocities(np.array([[-0.04, -0.03, 0], [0.05, 0, 0.01], [0, 0.05, 0]]) / fs)
        atoms.calc = EquiformerCalculator(model, elements=(6, 8))
        total = energies(atoms, timestep, round(20 / timestep))
        assert np.linalg.norm(atoms.positions[0] - atoms.positions[1]) > 3.5
        assert atoms.calc.neighbors.rebuilds > 1
        lost.append(np.ptp(total))
    assert 1e-7 < lost[0] < 1e-2
    assert lost[0] / lost[1] == pytest.approx(4, rel=0.25)


def test_relaxation_ends_at_a_minimum_with_and_without_the_cell(calculator, metal):
    atoms = water()
    atoms.rattle(0.1, seed=1)
    atoms.calc = calculator
    assert BFGS(atoms, logfile=None).run(fmax=0.001, steps=200)
    assert 0.8 < atoms.get_distance(0, 1) < 1.1
    crystal = copper()
    crystal.rattle(0.03, seed=1)
    crystal.calc = metal
    start = crystal.get_potential_energy()
    assert FIRE(FrechetCellFilter(crystal), logfile=None).run(fmax=0.05, steps=300)
    assert crystal.get_potential_energy() < start - 0.01
    assert np.abs(crystal.get_stress()).max() < 0.05 / crystal.get_volume() * 4
    assert 3.4 < crystal.get_volume() ** (1 / 3) < 4.3


def test_phonons_by_finite_differences(metal, tmp_path):
    atoms = copper()
    atoms.calc = metal
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.05, steps=200)
    phonons = Phonons(atoms, metal, supercell=(2, 1, 1), delta=0.02, name=str(tmp_path / "phonon"))
    phonons.run()
    phonons.read(acoustic=True)
    frequencies = phonons.band_structure([[0, 0, 0], [0.5, 0, 0]])
    assert np.abs(frequencies[0][np.argsort(np.abs(frequencies[0]))[:3]]).max() < 1e-3  # the acoustic ones at Γ
    assert frequencies[1].max() > 1e-3


def test_a_nudged_elastic_band_finds_a_saddle(metal):
    """A hop of an atom on copper(111) from one hollow to the next, as in ASE's tutorial."""
    slab = fcc111("Cu", size=(2, 2, 2), a=3.7, vacuum=8.0)
    add_adsorbate(slab, "Cu", 1.9, "fcc")
    slab.set_constraint(FixAtoms(mask=[atom.tag > 0 for atom in slab]))
    slab.calc = metal
    final = slab.copy()
    final.calc = metal
    final.positions[-1, :2] += (slab.cell[0] / 2)[:2]
    for end in (slab, final):
        BFGS(end, logfile=None).run(fmax=0.05, steps=60)
    images = [slab, *(slab.copy() for _ in range(3)), final]
    for image in images[1:-1]:
        image.calc = metal
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate(mic=True)
    before = max(image.get_potential_energy() for image in images)
    FIRE(band, logfile=None).run(fmax=0.2, steps=25)
    along = [image.get_potential_energy() for image in images]
    assert max(along) <= before + 1e-6
    assert np.isfinite(along).all()
    assert max(along) >= max(along[0], along[-1]) - 1e-9


@pytest.mark.parametrize("barostat", [IsotropicMTKNPT, MTKNPT])
def test_npt_conserves_what_it_conserves_and_moves_the_cell(metal, barostat):
    atoms = copper((2, 1, 1))
    atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
    rng = np.random.default_rng(1)
    atoms.set_momenta(np.sqrt(kB * 300 * atoms.get_masses())[:, None] * rng.standard_normal((8, 3)))
    atoms.calc = metal
    settings = {"temperature_K": 300, "pressure_au": 1 * GPa, "tdamp": 50 * fs, "pdamp": 200 * fs}
    volume, conserved = atoms.get_volume(), []
    dynamics = barostat(atoms, 1.0 * fs, **settings)
    dynamics.attach(lambda: conserved.append(dynamics.get_conserved_energy()))
    dynamics.run(40)
    assert abs(atoms.get_volume() - volume) > 0.01
    assert np.ptp(conserved) < 0.01
    assert metal.neighbors.rebuilds < 0.5 * metal.neighbors.calls


def test_langevin_dynamics_write_a_trajectory_that_ase_reads(calculator, tmp_path):
    atoms = moving_water(calculator)
    path = tmp_path / "water.traj"
    dynamics = Langevin(
        atoms, 0.5 * fs, temperature_K=300, friction=0.01 / fs, fixcm=False, rng=np.random.default_rng(0)
    )
    with Trajectory(path, "w", atoms) as trajectory:
        dynamics.attach(trajectory.write, interval=5)
        dynamics.run(10)
    with Trajectory(path) as written:
        assert len(written) == 3
        assert written[-1].get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        assert np.allclose(written[-1].get_forces(), atoms.get_forces())
