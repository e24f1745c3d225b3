"""Real spherical harmonics of edge directions."""

import functools
import math

import torch
from e3nn.o3 import Irreps, wigner_3j
from torch import Tensor

from .constants import Constants
from .layout import as_irreps


@functools.cache
def _ladder(l: int) -> Tensor:
    """Return A `[3, 2l+1, 2l+3]` with Y_{l+1}[k] = Σ_{ij} A[i, j, k] u_i Y_l[j] for the unit vector u.

    The product of Y_1 and Y_l coupled to degree l+1 is proportional to Y_{l+1}; the factor follows from the
    norm: |Y_l|² = 2l+1 on the sphere.
    """
    coupling = wigner_3j(1, l, l + 1, dtype=torch.float64)
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    y = _on_pole(l)
    raw = torch.einsum("ijk,i,j->k", coupling, pole, y)
    # e3nn's harmonics are positive at its pole (the y axis) in the middle component.
    factor = math.sqrt(2 * l + 3) / raw[l + 1]
    return coupling * factor


def _on_pole(l: int) -> Tensor:
    out = torch.zeros(2 * l + 1, dtype=torch.float64)
    out[l] = math.sqrt(2 * l + 1)
    return out


def unit_and_length(vec: Tensor) -> tuple[Tensor, Tensor]:
    """Return the direction and the length of vectors, both zero without a gradient at the zero vector.

    Args:
        vec: vectors [E, 3] in Å.

    Returns:
        unit vectors [E, 3] and lengths [E] in Å.

    Example:
        >>> unit_and_length(torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]))[1]
        tensor([2., 0.])
    """
    # Scaled by the largest component, so that squares neither overflow nor vanish.
    scale = vec.detach().abs().amax(dim=-1, keepdim=True)
    zero = scale == 0
    scale = torch.where(zero, torch.ones_like(scale), scale)
    scaled = vec / scale
    square = (scaled * scaled).sum(-1, keepdim=True)
    length = torch.where(zero, torch.ones_like(square), square).sqrt()
    unit = torch.where(zero, torch.zeros_like(vec), scaled / length)
    return unit, torch.where(zero, torch.zeros_like(length), length * scale).squeeze(-1)


class SphericalHarmonics(torch.nn.Module):
    r"""Real spherical harmonics :math:`Y_{lm}` of directions, e3nn's order and "component" normalisation.

    .. math:: \sum_m Y_{lm}(\hat r)^2 = 2l + 1, \qquad
        Y_{l+1} = c_l \, (Y_1 \otimes Y_l)_{l+1}

    They are polynomials of the unit vector, built degree by degree, so that every derivative exists. At the
    zero vector the harmonics of l > 0 are zero and pass no gradient.

    Args:
        irreps_sh: irreps of multiplicity one, e.g. "1x0e+1x1o+1x2e"; the parity is a label only.

    Shapes:
        vec [E, 3] → [E, irreps_sh.dim]

    Raises:
        ValueError: if a multiplicity is not one.

    Example:
        >>> SphericalHarmonics("1x0e+1x1o")(torch.tensor([[0.0, 2.0, 0.0]]))
        tensor([[1.0000, 0.0000, 1.7321, 0.0000]])
    """

    def __init__(self, irreps_sh: Irreps | str) -> None:
        super().__init__()
        self.irreps_sh = check_irreps_sh(irreps_sh)
        self.irreps_out = self.irreps_sh
        self.degrees = [ir.l for _, ir in self.irreps_sh]
        self.lmax = max(self.degrees)
        self.ladder = Constants(**{f"step_{l}": _ladder(l).reshape(3 * (2 * l + 1), -1) for l in range(1, self.lmax)})

    def forward(self, vec: Tensor) -> Tensor:
        unit, _ = unit_and_length(vec)
        return self.of_unit(unit)

    def of_unit(self, unit: Tensor) -> Tensor:
        """Return the harmonics of unit vectors [E, 3] (or zero vectors)."""
        with torch.autocast(unit.device.type, enabled=False):
            y = [torch.ones_like(unit[:, :1])]
            if self.lmax > 0:
                y.append(math.sqrt(3) * unit)
            for l in range(1, self.lmax):
                outer = (unit.unsqueeze(2) * y[l].unsqueeze(1)).flatten(1)
                y.append(outer @ getattr(self.ladder, f"step_{l}"))
        return torch.cat([y[l] for l in self.degrees], dim=-1)

    def extra_repr(self) -> str:
        return str(self.irreps_sh)


def check_irreps_sh(irreps_sh: Irreps | str) -> Irreps:
    """Return the irreps of edge harmonics, checked for multiplicity one."""
    irreps = as_irreps(irreps_sh, "irreps_sh")
    if any(mul != 1 for mul, _ in irreps) or len({ir for _, ir in irreps}) != len(irreps):
        raise ValueError(f"irreps_sh must hold each irrep once, like '1x0e+1x1e+1x2e', got {irreps}")
    return irreps
