"""Structures with exact labels of all kinds, made on the spot."""

from functools import cache

import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from torch_geometric.data import Data

from .conftest import TINY, water

#: A network that has vectors to give.
TINY_WITH_VECTORS = {**TINY, "irreps_feature": "8x0e+4x1e"}

#: Charges in e that the made-up molecules carry on hydrogen and oxygen, before they depend on the surroundings.
CHARGE = {1: 0.4, 8: -0.8}


def charged_water(seed: int) -> Data:
    """A distorted water molecule with charges that follow its bond lengths, their dipole, and two scalars."""
    molecule = water(seed)
    pos = molecule.pos.double()
    bonds = (pos[1:] - pos[0]).norm(dim=1)
    hydrogens = CHARGE[1] + 0.5 * (bonds - 0.9)
    charges = torch.cat([-hydrogens.sum(0, keepdim=True), hydrogens])
    return Data(
        z=molecule.z,
        pos=molecule.pos,
        charges=charges.float(),
        dipole=(charges.unsqueeze(1) * pos).sum(0, keepdim=True).float(),
        stretch=bonds.sum().reshape(1),
        gap=(12.0 - 3.0 * (pos[1] - pos[2]).norm()).reshape(1),
    )


@cache
def copper(seed: int) -> Data:
    """A strained and shaken cubic cell of copper, four atoms, with energy, forces and stress of ASE's EMT."""
    crystal = bulk("Cu", cubic=True)
    generator = torch.Generator().manual_seed(seed)
    strain = 0.06 * (torch.rand(3, 3, generator=generator, dtype=torch.float64) - 0.5)
    crystal.set_cell(crystal.cell.array @ (torch.eye(3) + (strain + strain.T) / 2).numpy(), scale_atoms=True)
    crystal.positions += 0.1 * torch.randn(4, 3, generator=generator, dtype=torch.float64).numpy()
    crystal.calc = EMT()
    return Data(
        z=torch.from_numpy(crystal.numbers).long(),
        pos=torch.from_numpy(crystal.positions).float(),
        cell=torch.from_numpy(crystal.cell.array).float().unsqueeze(0),
        pbc=torch.tensor([[True, True, True]]),
        energy=torch.tensor([crystal.get_potential_energy()], dtype=torch.float64),
        forces=torch.from_numpy(crystal.get_forces()).float(),
        stress=torch.from_numpy(crystal.get_stress(voigt=False)).float().unsqueeze(0),
    )


def boxed_water(seed: int) -> Data:
    """A water molecule beside crystals: no cell, no stress."""
    molecule = water(seed)
    return Data(
        **molecule.to_dict(),
        cell=torch.zeros(1, 3, 3),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        stress=torch.full((1, 3, 3), torch.nan),
    )
