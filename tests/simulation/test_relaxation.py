"""Relaxation of structures and cells."""

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms

from pyg_equiformer.simulation import relax

from .conftest import copper, water


@pytest.mark.parametrize("optimizer", ["lbfgs", "bfgs", "fire"])
def test_forces_fall_below_the_limit_and_the_structure_given_stays(calculator, optimizer):
    atoms, seen = water(), []
    atoms.rattle(0.1, seed=2)
    start = atoms.positions.copy()
    done = relax(atoms, calculator, optimizer=optimizer, fmax=0.01, progress=lambda *both: seen.append(both))
    assert done.converged
    assert done.fmax == pytest.approx(np.linalg.norm(done.atoms.get_forces(), axis=1).max())
    assert done.fmax < 0.01
    assert np.array_equal(atoms.positions, start)
    assert seen[0][0] == 0
    assert seen[-1] == (done.steps, pytest.approx(done.fmax))


def test_a_cell_relaxes_under_pressure(metal):
    atoms = copper()
    volumes = [
        relax(atoms, metal, cell=True, pressure=p, fmax=0.02, optimizer="fire").atoms.get_volume() for p in (0.0, 8.0)
    ]
    assert volumes[1] < volumes[0] - 0.2
    still = relax(atoms, metal, fmax=0.02)
    assert np.array_equal(still.atoms.cell, atoms.cell)


def test_what_does_not_converge_is_told_and_constraints_are_kept(calculator):
    atoms = water()
    atoms.rattle(0.1, seed=2)
    atoms.set_constraint(FixAtoms([0]))
    done = relax(atoms, calculator, fmax=1e-6, steps=2)
    assert not done.converged
    assert done.steps == 2
    assert np.array_equal(done.atoms.positions[0], atoms.positions[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "newton"}, "optimizer: expected one of"),
        ({"fmax": 0.0}, "fmax: expected a positive number"),
        ({"steps": 0}, "steps: expected a whole number"),
        ({"cell": True}, "cell: only one that repeats in all three directions"),
        ({"pressure": 1.0}, "pressure: works on a cell that relaxes"),
    ],
)
def test_settings_out_of_range_are_refused(calculator, wrong, message):
    with pytest.raises(ValueError, match=message):
        relax(water(), calculator, **wrong)
    with pytest.raises(ValueError, match="expected a structure with atoms"):
        relax(Atoms(), calculator)
