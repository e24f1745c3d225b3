"""Functions of the distance: radial bases, the smooth cutoff and the radial network."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

BasisKind = Literal["gaussian", "exp", "bessel"]


class GaussianBasis(nn.Module):
    r"""Learned Gaussians of the scaled distance, :math:`x = w\,d/r_c + b`.

    .. math:: φ_k(d) = \frac{1}{\sqrt{2π}σ_k}\exp\!\left(-\tfrac12 \left(\frac{x-μ_k}{σ_k}\right)^2\right),
        \qquad σ_k = |s_k| + 10^{-5}

    Args:
        num_basis: K.
        cutoff: r_c in Å.

    Shapes:
        d [E] in Å → [E, K]
    """

    #: The published code's value; its weights were trained with it.
    PI = 3.14159

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.num_basis, self.cutoff = num_basis, cutoff
        self.mean = nn.Parameter(torch.empty(num_basis))
        self.std = nn.Parameter(torch.empty(num_basis))
        self.weight = nn.Parameter(torch.empty(()))
        self.bias = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.mean, 0, 1)
        nn.init.uniform_(self.std, 1 / self.num_basis, 1)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, d: Tensor) -> Tensor:
        x = self.weight * (d / self.cutoff) + self.bias
        std = self.std.abs() + 1e-5
        z = (x.unsqueeze(-1) - self.mean) / std
        return torch.exp(-0.5 * z * z) / (math.sqrt(2 * self.PI) * std)

    def extra_repr(self) -> str:
        return f"{self.num_basis}, cutoff={self.cutoff}"


class ExpNormalBasis(nn.Module):
    r"""Gaussians of :math:`e^{-5d/r_c}` times a cosine cutoff (PhysNet, doi 10.1021/acs.jctc.9b00181).

    .. math:: φ_k(d) = \tfrac12(\cos(π d/r_c) + 1)\,\exp\!\left(-β\,(e^{-5 d/r_c} - μ_k)^2\right)

    with fixed μ_k, evenly from exp(-r_c) to 1, and β = (2(1-exp(-r_c))/K)⁻².

    Args:
        num_basis: K.
        cutoff: r_c in Å.

    Shapes:
        d [E] in Å → [E, K]
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.num_basis, self.cutoff = num_basis, cutoff
        start = math.exp(-cutoff)
        self.means: Tensor
        self.betas: Tensor
        self.register_buffer("means", torch.linspace(start, 1, num_basis))
        self.register_buffer("betas", torch.full((num_basis,), (2 / num_basis * (1 - start)) ** -2))

    def forward(self, d: Tensor) -> Tensor:
        d = d.unsqueeze(-1)
        window = 0.5 * (torch.cos(d * (math.pi / self.cutoff)) + 1) * (d < self.cutoff).to(d.dtype)
        return window * torch.exp(-self.betas * (torch.exp(d * (-5 / self.cutoff)) - self.means) ** 2)

    def extra_repr(self) -> str:
        return f"{self.num_basis}, cutoff={self.cutoff}"


class BesselBasis(nn.Module):
    r"""Spherical Bessel functions with learned frequencies (GemNet, arXiv 2106.08903).

    .. math:: φ_k(d) = u(x)\,\sqrt{2/r_c^3}\;\frac{\sin(f_k x)}{x}, \qquad x = d/r_c,\quad f_k = kπ \text{ initially}

    Args:
        num_basis: K.
        cutoff: r_c in Å.

    Shapes:
        d [E] in Å → [E, K], finite at d = 0
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        self.num_basis, self.cutoff = num_basis, cutoff
        self.frequencies = nn.Parameter(torch.empty(num_basis))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.frequencies.copy_(math.pi * torch.arange(1, self.num_basis + 1))

    def forward(self, d: Tensor) -> Tensor:
        x = (d / self.cutoff).unsqueeze(-1)
        y = self.frequencies * x
        # Near 0 the series: sin(y)/y and its derivatives lose all digits there, or divide by zero.
        near = y.abs() < 1e-2
        safe = torch.where(near, torch.ones_like(y), y)
        sinc = torch.where(near, 1 - y * y / 6 * (1 - y * y / 20), torch.sin(safe) / safe)
        return polynomial_envelope(x) * math.sqrt(2 / self.cutoff**3) * self.frequencies * sinc

    def extra_repr(self) -> str:
        return f"{self.num_basis}, cutoff={self.cutoff}"


def polynomial_envelope(x: Tensor) -> Tensor:
    r"""Return :math:`u(x) = 1 - 21x^5 + 35x^6 - 15x^7`, and 0 from x = 1 on; value, slope and curvature vanish there.

    Example:
        >>> polynomial_envelope(torch.tensor([0.0, 1.0, 2.0]))
        tensor([1., 0., 0.])
    """
    # Factored, u keeps its digits, and its sign, up to the cutoff.
    rest = (1 - x).clamp(min=0)
    return rest**3 * (1 + x * (3 + x * (6 + x * (10 + 15 * x))))


def radial_basis(kind: BasisKind, num_basis: int, cutoff: float) -> nn.Module:
    """Return the radial basis of a kind.

    Raises:
        ValueError: for an unknown kind, or a number or cutoff that is not positive.

    Example:
        >>> radial_basis("exp", 16, 5.0)(torch.ones(3)).shape
        torch.Size([3, 16])
    """
    kinds = {"gaussian": GaussianBasis, "exp": ExpNormalBasis, "bessel": BesselBasis}
    if kind not in kinds:
        raise ValueError(f"basis must be one of {tuple(kinds)}, got {kind!r}")
    if num_basis < 1:
        raise ValueError(f"num_basis must be at least 1, got {num_basis}")
    if not (cutoff > 0 and math.isfinite(cutoff)):
        raise ValueError(f"cutoff must be a positive length in Å, got {cutoff}")
    return kinds[kind](num_basis, cutoff)


class RadialMLP(nn.Module):
    """Network from edge scalars to the weights of a tensor product.

    Linear, layer norm and SiLU for each hidden width, then a linear map without bias plus an offset.

    Args:
        dim_in: edge scalars (radial basis and other edge features).
        hidden: hidden widths.
        dim_out: weights of the product.

    Shapes:
        [E, dim_in] → [E, dim_out]

    Example:
        >>> RadialMLP(16, (64, 64), 100)(torch.zeros(5, 16)).shape
        torch.Size([5, 100])
    """

    def __init__(self, dim_in: int, hidden: Sequence[int], dim_out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip([dim_in, *hidden], hidden):
            layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.SiLU()]
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Linear(([dim_in, *hidden])[-1], dim_out, bias=False)
        self.offset = nn.Parameter(torch.empty(dim_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        bound = 1 / math.sqrt(self.out.in_features)
        nn.init.uniform_(self.offset, -bound, bound)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return all weights, or only those numbered `rows`."""
        if rows is None:
            # In place: a bias that is copied to every row first takes as long as the product.
            return (self.hidden(x) @ self.out.weight.t()).add_(self.offset)
        weight, offset = self.out.weight.index_select(0, rows), self.offset.index_select(0, rows)
        return nn.functional.linear(self.hidden(x), weight, offset)

    def pieces(self, x: Tensor, sizes: list[int]) -> list[Tensor]:
        """Return the weights in pieces of so many columns, with a gradient that need not put them together."""
        hidden = self.hidden(x)
        parts = zip(torch.split(self.out.weight, sizes), torch.split(self.offset, sizes))
        return [nn.functional.linear(hidden, weight, offset) for weight, offset in parts]
