"""Activations whose output has the second moment of their normal-distributed input, gated or by their norm."""

import math

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch.nn.functional import silu

from ..o3 import SCALAR, Blocks, as_irreps, count, even_first
from .irreps_module import IrrepsModule

# 1/√E[f(z)²] for standard normal z, with e3nn's sample of z, as the published weights were trained.
SILU_GAIN = 1.6791767923989418
SIGMOID_GAIN = 1.8467055342154763
SMOOTH_LEAKY_RELU_GAIN = 1.531320475574866


def smooth_leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    r"""Return a leaky ReLU with continuous derivatives, :math:`\frac{1+s}{2}x + \frac{1-s}{2}x(2σ(x)-1)`.

    Example:
        >>> smooth_leaky_relu(torch.tensor([-20.0, 0.0, 20.0]))
        tensor([-4.,  0., 20.])
    """
    return x * (negative_slope + (1 - negative_slope) * torch.sigmoid(x))


def gate_irreps(irreps: Irreps) -> Irreps:
    """Return what a gate needs to give `irreps`: its 0e channels, one 0e per other channel, the others.

    Example:
        >>> gate_irreps(Irreps("8x0e+4x1e+2x2e"))
        14x0e+4x1e+2x2e
    """
    return even_first(Irreps([(irreps.num_irreps, SCALAR)]) + Irreps([e for e in irreps if e.ir != SCALAR]))


class Gate(IrrepsModule):
    r"""Gated non-linearity: SiLU on 0e, every other channel times the sigmoid of an extra scalar.

    .. math:: y_0 = c_1\,\mathrm{SiLU}(x_0), \qquad y_l = c_2\,σ(g_l)\, x_l

    The 0e channels of the input are the scalars, then the gates in the order of the other types.

    Args:
        irreps_out: irreps of the output; `irreps_in` follows (see `gate_irreps`).

    Raises:
        ValueError: if `irreps_out` is empty.

    Example:
        >>> gate = Gate("4x0e+2x1o")
        >>> gate.irreps_in, gate(torch.zeros(3, 12)).shape
        (6x0e+2x1o, torch.Size([3, 10]))
    """

    def __init__(self, irreps_out: Irreps | str) -> None:
        irreps_out = as_irreps(irreps_out, "irreps_out")
        super().__init__(gate_irreps(irreps_out), irreps_out)
        self.num_scalars = count(irreps_out, SCALAR)
        channels = zip(self.layout_out.types, self.layout_out.channels)
        self.sizes = [self.num_scalars] + [mul for ir, mul in channels if ir != SCALAR]

    def blocks(self, x: Blocks) -> Blocks:
        scalars, *gates = torch.split(x[0], self.sizes, dim=-1)
        out = [SILU_GAIN * silu(scalars)] if self.num_scalars else []
        return out + [SIGMOID_GAIN * torch.sigmoid(g) * y for g, y in zip(gates, x[1:])]


class HeadGate(nn.Module):
    r"""A gate for each attention head, by which it may attend to nothing: what it gives, times a sigmoid.

    .. math:: y_{i,h} \leftarrow σ(w_h \cdot x_i^{0e} + b_h) \, y_{i,h}

    Args:
        irreps_in: irreps of the target's features; needs 0e.
        heads: number of heads; blocks of the result of attention hold their channels head by head.

    Raises:
        ValueError: if `irreps_in` has no 0e.

    Example:
        >>> HeadGate("4x0e+2x1e", heads=2)([torch.ones(3, 1, 6)], [torch.zeros(3, 1, 4), torch.zeros(3, 3, 2)])[0].shape
        torch.Size([3, 1, 6])
    """

    def __init__(self, irreps_in: Irreps | str, heads: int) -> None:
        super().__init__()
        channels = count(as_irreps(irreps_in, "irreps_in"), SCALAR)
        if channels == 0:
            raise ValueError(f"gate_heads needs 0e channels in irreps_in, got {irreps_in}")
        self.heads, self.lin = heads, nn.Linear(channels, heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # Gates begin mostly open, the same for all atoms.
        nn.init.zeros_(self.lin.weight)
        nn.init.constant_(self.lin.bias, 2.0)

    def forward(self, out: Blocks, x: Blocks) -> Blocks:
        share = torch.sigmoid(self.lin(x[0])).unsqueeze(3)
        return [(y.unflatten(2, (self.heads, -1)) * share).flatten(2) for y in out]


def channel_norm(x: Tensor, eps: float = 1e-4) -> Tensor:
    r"""Return the root mean square of the components of each channel, smooth at zero: [N, 2l+1, C] → [N, 1, C].

    .. math:: n = \sqrt{|x|^2 / (2l+1) + ε}

    Half precision is squared in float32, in which nothing overflows.

    Example:
        >>> channel_norm(torch.full((1, 3, 2), 2.0)).shape
        torch.Size([1, 1, 2])
    """
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return ((wide * wide).mean(dim=-2, keepdim=True) + eps).sqrt().to(x.dtype)


def norm_gain(dim: int) -> float:
    """Return 1/√E[x₁² σ(n)²] of `dim` independent standard normal components with root mean square n.

    Example:
        >>> round(norm_gain(3), 2)
        1.3
    """
    radius = torch.linspace(0, 8 + math.sqrt(dim), 4001, dtype=torch.float64, device="cpu")
    density = radius ** (dim - 1) * torch.exp(-radius * radius / 2)
    mean_square = radius * radius / dim
    moment = (density * mean_square * torch.sigmoid(mean_square.sqrt()) ** 2).sum() / density.sum()
    return float(moment.rsqrt())


class NormActivation(IrrepsModule):
    r"""Non-linearity by the norm of each channel: SiLU on 0e, every other channel times a sigmoid of its own norm.

    .. math:: y_0 = c_1\,\mathrm{SiLU}(x_0), \qquad y_l = c_l\,σ(n_l + b_l)\, x_l, \qquad
        n_l = \sqrt{|x_l|^2 / (2l+1) + ε}

    with a learned b per channel, zero at first, and constants c that keep the second moment of normal inputs.
    Unlike `Gate` it needs no further scalars, and channels of different types do not meet. ε keeps all derivatives
    finite at zero.

    Args:
        irreps: irreps of input and output.

    Raises:
        ValueError: if `irreps` is empty.

    Example:
        >>> activation = NormActivation("4x0e+2x1o")
        >>> activation.irreps_in, activation(torch.zeros(3, 10)).shape
        (4x0e+2x1o, torch.Size([3, 10]))
    """

    def __init__(self, irreps: Irreps | str) -> None:
        super().__init__(irreps, irreps)
        layout = self.layout_in
        self.gains = [norm_gain(d) for d in layout.dims]
        self.bias = nn.ParameterDict(
            {n: nn.Parameter(torch.zeros(mul)) for n, mul in zip(layout.names, layout.channels) if n != "0e"}
        )

    def reset_parameters(self) -> None:
        for bias in self.bias.values():
            nn.init.zeros_(bias)

    def blocks(self, x: Blocks) -> Blocks:
        out = []
        for name, gain, b in zip(self.layout_in.names, self.gains, x):
            if name == "0e":
                out.append(SILU_GAIN * silu(b))
            else:
                out.append(b * (gain * torch.sigmoid(channel_norm(b) + self.bias[name])).to(b.dtype))
        return out


class ScalarActivation(nn.Module):
    """SiLU with unit second moment, for 0e features [N, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return SILU_GAIN * silu(x)
