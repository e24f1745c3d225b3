"""The preset "small" is smooth where atoms enter and leave the cutoff; the published ones are not, as published."""

import pytest
import torch

from pyg_equiformer import EnergyForces

from .conftest import SANDWICH, tiny

CUTOFF = 5.0


def _scan(potential, z, pos, mover, distances):
    """Energy, force on the moved atom, and the derivative of that force, along the x axis."""
    rows = []
    for d in distances:
        x = pos.clone()
        x[mover, 0] = d
        x.requires_grad_()
        out = potential(z, x)
        force = out["forces"][mover, 0]
        slope = torch.zeros(()) if not force.requires_grad else torch.autograd.grad(force, x)[0][mover, 0]
        rows.append([float(v.detach()) for v in (out["energy"], force, slope)])
    return torch.tensor(rows, dtype=torch.float64)


def _dimer():
    return torch.tensor([6, 8]), torch.zeros(2, 3, dtype=torch.float64), 1


def _cluster():
    """Three atoms near the origin, so that the one that leaves is neither the first nor the only neighbour."""
    pos = [[0.0, 0.0, 0.0], [0.0, 1.1, 0.2], [0.0, -0.9, 0.5], [0.0, 0.0, 0.0]]
    return torch.tensor([6, 1, 1, 8]), torch.tensor(pos, dtype=torch.float64), 3


@pytest.mark.parametrize("system", [_dimer, _cluster])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention": "dot"},
        {"message": "nonlinear"},
        {"rescale_degree": True},
        SANDWICH,
        {"attention": "distance"},
        {"attention": "distance", "message": "nonlinear", "scalar_score": "dot", "attend_self": True, "kv_heads": 1},
        {"attend_self": True, "gate_heads": True, "linear_attention_heads": 2},
    ],
    ids=str,
)
def test_energy_force_and_its_derivative_are_continuous_at_the_cutoff(system, settings):
    z, pos, mover = system()
    potential = EnergyForces(tiny(**settings))
    gaps = []
    for h in (1e-4, 1e-6):
        # All crossings of the cutoff: each atom of the cluster has its own distance to the moved one.
        crossings = [float((CUTOFF**2 - (p[1] ** 2 + p[2] ** 2)) ** 0.5) for p in pos[:mover]]
        values = [_scan(potential, z, pos, mover, [c - h, c + h]) for c in crossings]
        gaps.append(torch.stack([(v[1] - v[0]).abs() for v in values]).amax(0))
    coarse, fine = gaps
    # Continuous: the gap closes with the step, down to rounding.
    assert (fine <= 0.1 * coarse + 1e-8).all(), gaps


def test_the_published_model_jumps_at_the_cutoff():
    z, pos, mover = _dimer()
    potential = EnergyForces(tiny("qm9"))
    energy = _scan(potential, z, pos, mover, [CUTOFF - 1e-9, CUTOFF + 1e-9])[:, 0]
    assert (energy[1] - energy[0]).abs() > 1e-4


def test_a_lone_atom_has_the_energy_of_a_dimer_pulled_apart():
    potential = EnergyForces(tiny())
    z, pos, mover = _dimer()
    apart = _scan(potential, z, pos, mover, [CUTOFF + 1])[0, 0]
    alone = [float(potential(z[k : k + 1], pos[k : k + 1])["energy"].detach()) for k in range(2)]
    assert abs(float(apart) - sum(alone)) < 1e-12


def _stiffness_of_methane(potential, step):
    """Force on the carbon per displacement from the centre of its tetrahedron, in eV/Å²."""
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    z, pos = torch.tensor([6, 1, 1, 1, 1]), torch.cat([torch.zeros(1, 3).double(), 0.63 * corners])
    there, back = (potential(z, pos + sign * step * torch.eye(5, 3).double())["forces"][0, 0] for sign in (1, -1))
    return float((there - back).detach()) / (2 * step)


def test_where_vectors_vanish_by_symmetry_small_is_smooth_and_the_published_norm_has_a_cusp():
    steps = (1e-5, 1e-4, 1e-3, 1e-2)
    soft, layer = (
        torch.tensor([_stiffness_of_methane(EnergyForces(tiny(**settings)), step) for step in steps])
        for settings in ({}, {"norm": "layer"})
    )
    assert (soft / soft[0] - 1).abs().max() < 0.05, soft
    assert layer[0].abs() > 100 * layer[-1].abs(), layer
