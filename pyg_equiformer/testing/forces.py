"""Forces against finite differences of the energy."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def assert_forces_match_finite_differences(
    potential: Callable[..., Mapping[str, Tensor]],
    z: Tensor,
    pos: Tensor,
    batch: Tensor | None = None,
    *,
    step: float = 1e-3,
    tolerance: float = 1e-6,
    **inputs: Any,
) -> None:
    r"""Assert that forces are the negative derivative of the energy, by central differences of fourth order.

    .. math:: F \approx -\frac{8\,(E_{+h} - E_{-h}) - (E_{+2h} - E_{-2h})}{12\,h}

    Args:
        potential: called as `potential(z, pos, batch, **inputs)`; returns `energy` [B] and `forces` [N, 3].
        z: atomic numbers [N].
        pos: positions [N, 3] in Å, float64.
        batch: graph of each atom [N]. None: one graph.
        step: h in Å.
        tolerance: allowed difference in eV/Å; for forces above 1 eV/Å, relative to the largest.
        **inputs: further inputs of the potential.

    Raises:
        AssertionError: with the largest difference, its atom and direction.
        ValueError: if the positions are not float64.

    Example:
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> potential = EnergyForces(Equiformer.from_preset("small", num_layers=1)).double()
        >>> assert_forces_match_finite_differences(potential, torch.tensor([8, 1]), torch.eye(3).double()[:2])
    """
    if pos.dtype != torch.float64:
        raise ValueError(f"finite differences need float64 positions and weights, got {pos.dtype}")
    pos = pos.detach()
    forces = potential(z, pos, batch, **inputs)["forces"].detach()
    if forces.shape != pos.shape:
        raise AssertionError(f"forces must have shape {tuple(pos.shape)}, got {tuple(forces.shape)}")

    def energy(atom: int, axis: int, shift: float) -> float:
        moved = pos.clone()
        moved[atom, axis] += shift
        # The sum over graphs: moving an atom changes the energy of its own graph only.
        return float(potential(z, moved, batch, **inputs)["energy"].detach().double().sum())

    differences = torch.zeros_like(pos)
    for atom in range(pos.shape[0]):
        for axis in range(3):
            near = energy(atom, axis, step) - energy(atom, axis, -step)
            far = energy(atom, axis, 2 * step) - energy(atom, axis, -2 * step)
            differences[atom, axis] = -(8 * near - far) / (12 * step)
    error = (forces - differences).abs()
    allowed = tolerance * max(1.0, float(differences.abs().max())) if pos.numel() else 0.0
    if error.numel() and not float(error.max()) <= allowed:
        atom, axis = divmod(int(error.argmax()), 3)
        raise AssertionError(
            f"forces are not the derivative of the energy: off by {float(error.max()):.2e} eV/Å (allowed "
            f"{allowed:.2e}) for atom {atom} along {'xyz'[axis]}: forces say {float(forces[atom, axis]):.8g}, "
            f"finite differences {float(differences[atom, axis]):.8g}"
        )
