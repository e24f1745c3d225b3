"""Radial bases of the published models."""

import math

import torch
from torch import Tensor, nn


class GaussianBasis(nn.Module):
    r"""Learned Gaussians of :math:`x = w\,d/r_c + b`, with the published value of π.

    .. math:: φ_k(d) = \exp\!\big(-\tfrac12 ((x-μ_k)/σ_k)^2\big) / (\sqrt{2π}\,σ_k), \qquad σ_k = |s_k| + 10^{-5}

    Shapes:
        d [E] in Å → [E, num_basis]
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.mean = nn.Parameter(torch.empty(1, num_basis).uniform_(0, 1))
        self.std = nn.Parameter(torch.empty(1, num_basis).uniform_(1 / num_basis, 1))
        self.weight = nn.Parameter(torch.ones(1, 1))
        self.bias = nn.Parameter(torch.zeros(1, 1))

    def forward(self, d: Tensor) -> Tensor:
        x = self.weight * d[:, None] / self.cutoff + self.bias
        std = self.std.abs() + 1e-5
        return torch.exp(-0.5 * ((x - self.mean) / std) ** 2) / ((2 * 3.14159) ** 0.5 * std)


class ExpBasis(nn.Module):
    r"""Gaussians of :math:`e^{-5d/r_c}` times a cosine cutoff (PhysNet).

    .. math:: φ_k(d) = \tfrac12(1 + \cos(πd/r_c))\,\exp\!\big(-β (e^{-5d/r_c} - μ_k)^2\big)

    Shapes:
        d [E] in Å → [E, num_basis]
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        first = math.exp(-cutoff)
        self.register_buffer("means", torch.linspace(first, 1, num_basis))
        self.register_buffer("betas", torch.full((num_basis,), (2 * (1 - first) / num_basis) ** -2))

    def forward(self, d: Tensor) -> Tensor:
        d = d[:, None]
        window = 0.5 * (1 + torch.cos(math.pi * d / self.cutoff)) * (d < self.cutoff)
        means, betas = self.get_buffer("means"), self.get_buffer("betas")
        return window * torch.exp(-betas * (torch.exp(-5 * d / self.cutoff) - means) ** 2)


class _Bessel(nn.Module):
    def __init__(self, num_basis: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(math.pi * torch.arange(1.0, num_basis + 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.frequencies * x) / x


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions with learned frequencies under a polynomial envelope (GemNet).

    .. math:: φ_k(d) = (1 - 21x^5 + 35x^6 - 15x^7)\,\sqrt{2/r_c^3}\,\sin(f_k x)/x, \qquad x = d/r_c < 1

    Shapes:
        d [E] in Å → [E, num_basis]
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.rbf = _Bessel(num_basis)

    def forward(self, d: Tensor) -> Tensor:
        x = d[:, None] / self.cutoff
        envelope = (1 - 21 * x**5 + 35 * x**6 - 15 * x**7) * (x < 1)
        return envelope * (2 / self.cutoff**3) ** 0.5 * self.rbf(x)


def reference_basis(kind: str, num_basis: int, cutoff: float) -> nn.Module:
    """Return the radial basis that the published code calls `kind`.

    Raises:
        ValueError: for an unknown kind.

    Example:
        >>> reference_basis("exp", 16, 5.0)(torch.ones(3)).shape
        torch.Size([3, 16])
    """
    kinds = {"gaussian": GaussianBasis, "exp": ExpBasis, "bessel": BesselBasis}
    if kind not in kinds:
        raise ValueError(f"basis_type must be one of {', '.join(kinds)}, got {kind!r}")
    return kinds[kind](num_basis, cutoff)
