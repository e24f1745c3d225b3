"""Small potentials for the tests of this folder."""

import torch

from pyg_equiformer import EnergyForces, Equiformer

TINY = {
    "num_layers": 1,
    "irreps": "8x0e+4x1e",
    "irreps_sh": "1x0e+1x1e",
    "irreps_head": "4x0e+2x1e",
    "irreps_ffn": "8x0e+4x1e",
    "irreps_feature": "8x0e",
    "heads": 2,
    "num_basis": 8,
    "elements": (1, 6, 8, 14),
}


def potential(seed: int = 0, atomic_energies: dict[int, float] | None = None, **settings: object) -> EnergyForces:
    """Return a potential of float64 whose forces are not small."""
    torch.manual_seed(seed)
    network = Equiformer.from_preset("small", **{**TINY, **settings}).double().eval()
    return EnergyForces(network, energy_scale=5.0, energy_shift=0.25, atomic_energies=atomic_energies)
