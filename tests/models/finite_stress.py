"""The stress by finite differences of the energy."""

from collections.abc import Callable

import torch
from torch import Tensor


def finite_stress(energy: Callable[[Tensor], float], volume: float, h: float = 1e-4) -> Tensor:
    """Central differences of the energy under symmetric strains ±h, over the volume [3, 3]."""
    found = torch.zeros(3, 3, dtype=torch.float64)
    for a in range(3):
        for b in range(3):
            strain = torch.zeros(3, 3, dtype=torch.float64)
            strain[a, b] += h / 2
            strain[b, a] += h / 2
            found[a, b] = (energy(strain) - energy(-strain)) / (2 * h) / volume
    return found
