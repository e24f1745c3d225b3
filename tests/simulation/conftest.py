"""Two small smooth float64 networks, trained for seconds, whose atoms stay where atoms belong."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

pytest.importorskip("ase")

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pyg_equiformer import EnergyForces, EquiformerCalculator
from pyg_equiformer.data import RadiusGraph

from ..models.conftest import tiny

SIZES = {"num_layers": 1, "irreps": "8x0e+4x1e", "irreps_sh": "1x0e+1x1e", "irreps_head": "4x0e+2x1e"}
SIZES |= {"irreps_ffn": "8x0e+4x1e", "irreps_feature": "8x0e", "avg_num_nodes": 1.0}


def water() -> Atoms:
    return Atoms("OHH", [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])


def copper(repeat: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    return bulk("Cu", cubic=True).repeat(repeat)


def _springs(seed: int) -> Data:
    """Water out of shape, with energy and forces of three springs."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.tensor(water().positions) + 0.15 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    pos.requires_grad_()
    energy = 10.0 * (torch.pdist(pos) - torch.tensor([0.96, 0.96, 1.52])).square().sum()
    (gradient,) = torch.autograd.grad(energy, pos)
    return Data(z=torch.tensor([8, 1, 1]), pos=pos.detach(), energy=energy.detach().reshape(1), forces=-gradient)


def _metal(seed: int) -> Data:
    """Strained copper with the energy and forces of effective medium theory."""
    rng, atoms = np.random.default_rng(seed), copper()
    strain = 0.04 * rng.standard_normal((3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += 0.12 * rng.standard_normal((4, 3))
    atoms.calc = EMT()
    energy = torch.tensor([atoms.get_potential_energy()]).double()
    cell, pbc = torch.tensor(atoms.cell[:])[None], torch.tensor([[True, True, True]])
    data = Data(z=torch.tensor([29] * 4), pos=torch.tensor(atoms.positions), cell=cell, pbc=pbc)
    data.energy, data.forces = energy, torch.tensor(atoms.get_forces())
    return RadiusGraph(4.0)(data)


def _train(make: Callable[[int], Data], count: int, steps: int, **settings) -> EnergyForces:
    batch = Batch.from_data_list([make(seed) for seed in range(count)])
    shift = float(batch.energy.mean())
    model = EnergyForces(tiny("small", **SIZES, **settings), energy_scale=1.0, energy_shift=shift).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-4)
    for _ in range(steps):
        out = model(batch)
        loss = (out["forces"] - batch.forces).square().mean() + 0.1 * (out["energy"] - batch.energy).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.fixture(scope="session")
def molecule_model() -> EnergyForces:
    return _train(_springs, 16, 90, cutoff=3.0, elements=(1, 8))


@pytest.fixture(scope="session")
def metal_model() -> EnergyForces:
    return _train(_metal, 8, 120, cutoff=4.0, elements=(29,))


@pytest.fixture
def calculator(molecule_model) -> EquiformerCalculator:
    return EquiformerCalculator(molecule_model, elements=(1, 8))


@pytest.fixture
def metal(metal_model) -> EquiformerCalculator:
    return EquiformerCalculator(metal_model, elements=(29,))
