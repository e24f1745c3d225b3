"""Linear maps, tensor products, gates and the feed-forward network on flat e3nn features."""

import functools
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from e3nn import o3
from e3nn.math import normalize2mom
from e3nn.nn import Dropout
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn
from torch.nn.functional import silu

SCALAR = Irrep("0e")

#: An activation scaled to unit second moment; e3nn finds the factor numerically, once per activation here.
unit_moment = functools.cache(normalize2mom)


class Linear(nn.Module):
    r"""Equivariant linear map: the fully connected tensor product with one scalar s, and a bias on 0e.

    .. math:: y_l = s\, x_l W_l + b\,[l = 0e]

    Args:
        irreps_in, irreps_out: irreps of input and output.
        bias: whether 0e outputs have a bias.

    Shapes:
        x [N, irreps_in.dim], s [N, 1] (None: 1) → [N, irreps_out.dim]

    Example:
        >>> Linear("8x0e+4x1e", "6x0e+2x1e")(torch.zeros(5, 20)).shape
        torch.Size([5, 12])
    """

    def __init__(self, irreps_in: Irreps | str, irreps_out: Irreps | str, bias: bool = True) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.tp = o3.FullyConnectedTensorProduct(
            self.irreps_in, "1x0e", self.irreps_out, path_normalization="none", internal_weights=True
        )
        with torch.no_grad():
            for _, ins, weight in self.tp.weight_views(yield_instruction=True):
                ir = self.irreps_out[ins.i_out].ir
                weight.div_(math.sqrt(sum(mul for mul, other in self.irreps_in if other == ir)))
        merged = self.irreps_out.simplify()
        self.bias_slices = [s for s, (_, ir) in zip(merged.slices(), merged) if ir == SCALAR] if bias else []
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(s.stop - s.start)) for s in self.bias_slices])

    def forward(self, x: Tensor, s: Tensor | None = None) -> Tensor:
        y = self.tp(x, torch.ones_like(x[:, :1]) if s is None else s)
        for columns, bias in zip(self.bias_slices, self.bias):
            y[:, columns] += bias
        return y


class DepthwiseProduct(nn.Module):
    r"""Depthwise tensor product with edge harmonics, :math:`\sqrt{2l_3+1}` times the 3j symbol per path.

    Weights are ordered by input entry, harmonic and output type; outputs by degree, even parity first.

    Args:
        irreps_in: irreps of x.
        irreps_sh: irreps of the harmonics.
        irreps_wanted: keep the paths to these irreps and to 0e.
        internal_weights: whether the weights belong to this module, or come with every edge.

    Shapes:
        x [E, irreps_in.dim], sh [E, irreps_sh.dim], weight [E, tp.weight_numel] → [E, irreps_out.dim]

    Example:
        >>> DepthwiseProduct("4x0e+2x1e", "0e+1e", "0e+1e").irreps_out
        6x0e+8x1e
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_sh: Irreps | str,
        irreps_wanted: Irreps | str,
        internal_weights: bool = False,
    ) -> None:
        super().__init__()
        irreps_in, irreps_sh, irreps_wanted = Irreps(irreps_in), Irreps(irreps_sh), Irreps(irreps_wanted)
        paths = [
            (i, j, mul, ir_out)
            for i, (mul, ir_in) in enumerate(irreps_in)
            for j, (_, ir_sh) in enumerate(irreps_sh)
            for ir_out in ir_in * ir_sh
            if ir_out in irreps_wanted or ir_out == SCALAR
        ]
        order = sorted(range(len(paths)), key=lambda k: (paths[k][3].l, -paths[k][3].p, k))
        place = {k: n for n, k in enumerate(order)}
        self.tp = o3.TensorProduct(
            irreps_in,
            irreps_sh,
            Irreps([paths[k][2:] for k in order]),
            [(i, j, place[k], "uvu", True) for k, (i, j, *_) in enumerate(paths)],
            irrep_normalization="component",
            path_normalization="none",
            internal_weights=internal_weights,
            shared_weights=internal_weights,
        )
        self.irreps_out = self.tp.irreps_out.simplify()

    def forward(self, x: Tensor, sh: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.tp(x, sh, weight)


class RadialMLP(nn.Module):
    """Edge scalars to tensor product weights: (linear, layer norm, SiLU) per hidden width, linear, plus offset.

    Args:
        widths: of the input, the hidden layers and the output.

    Shapes:
        [E, widths[0]] → [E, widths[-1]]
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        *hidden, (width, last) = pairwise(widths)
        layers: list[nn.Module] = []
        for a, b in hidden:
            linear = nn.Linear(a, b)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.LayerNorm(b), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(width, last, bias=False))
        bound = 1 / math.sqrt(width)
        self.offset = nn.Parameter(torch.empty(last).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.offset


class Gate(nn.Module):
    """SiLU on 0e; every other irrep times the sigmoid of an extra 0e channel. Both have second moment one.

    The input holds the scalars, the gates, then the gated irreps; the output scalars, then the gated irreps.

    Args:
        irreps: of the output, before 0e is put first.

    Example:
        >>> Gate("4x0e+2x1o").irreps_in
        6x0e+2x1o
    """

    def __init__(self, irreps: Irreps | str) -> None:
        super().__init__()
        scalars = Irreps([e for e in Irreps(irreps) if e.ir == SCALAR]).simplify()
        gated = Irreps([e for e in Irreps(irreps) if e.ir != SCALAR]).simplify()
        gates = Irreps([(gated.num_irreps, SCALAR)])
        self.irreps_in = (scalars + gates + gated).simplify()
        self.irreps_out = scalars + gated
        self.sizes = [scalars.dim, gates.dim, gated.dim]
        self.act_scalars, self.act_gates = unit_moment(silu), unit_moment(torch.sigmoid)
        self.mul = o3.ElementwiseTensorProduct(gated, gates) if gated.dim else None

    def forward(self, x: Tensor) -> Tensor:
        scalars, gates, gated = x.split(self.sizes, dim=1)
        if self.mul is None:
            return self.act_scalars(scalars)
        return torch.cat([self.act_scalars(scalars), self.mul(gated, self.act_gates(gates))], dim=1)


class GatedLinear(Linear):
    """A linear map to a gate's input, and the gate."""

    def __init__(self, irreps_in: Irreps | str, irreps_out: Irreps | str) -> None:
        gate = Gate(irreps_out)
        super().__init__(irreps_in, gate.irreps_in)
        self.gate = gate

    def forward(self, x: Tensor, s: Tensor | None = None) -> Tensor:
        return self.gate(super().forward(x, s))


class SeparableProduct(nn.Module):
    """Depthwise product, a linear map, and on request a gate.

    Args:
        irreps_in, irreps_sh, irreps_out: irreps of x, of the harmonics, and of the output.
        radial: widths of the radial network up to its last hidden layer; None: weights shared by all edges.
        gate: whether a gate follows.

    Shapes:
        x [E, irreps_in.dim], sh [E, irreps_sh.dim], scalars [E, radial[0]] → [E, irreps_out.dim]
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_sh: Irreps | str,
        irreps_out: Irreps | str,
        radial: Sequence[int] | None,
        gate: bool = False,
    ) -> None:
        super().__init__()
        self.dtp = DepthwiseProduct(irreps_in, irreps_sh, irreps_out, internal_weights=radial is None)
        self.dtp_rad = None if radial is None else RadialMLP([*radial, self.dtp.tp.weight_numel])
        self.gate = Gate(irreps_out) if gate else None
        self.lin = Linear(self.dtp.irreps_out, irreps_out if self.gate is None else self.gate.irreps_in)

    def product(self, x: Tensor, sh: Tensor, scalars: Tensor) -> Tensor:
        return self.dtp(x, sh, None if self.dtp_rad is None else self.dtp_rad(scalars))

    def finish(self, product: Tensor) -> Tensor:
        return self.lin(product) if self.gate is None else self.gate(self.lin(product))

    def forward(self, x: Tensor, sh: Tensor, scalars: Tensor) -> Tensor:
        return self.finish(self.product(x, sh, scalars))


class FeedForward(nn.Module):
    """Linear, gate, linear, on each atom alone; both linear maps are multiplied by the scalar s of the atom.

    Shapes:
        x [N, irreps_in.dim], s [N, 1] → [N, irreps_out.dim]
    """

    def __init__(
        self, irreps_in: Irreps | str, irreps_out: Irreps | str, irreps_mid: Irreps | str, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fctp_1 = GatedLinear(irreps_in, irreps_mid)
        # The published code reads the gate's output as irreps_mid, whatever their order.
        self.fctp_2 = Linear(irreps_mid, irreps_out)
        self.dropout = dropout_of(irreps_out, dropout)

    def forward(self, x: Tensor, s: Tensor | None = None) -> Tensor:
        return self.dropout(self.fctp_2(self.fctp_1(x, s), s))


def dropout_of(irreps: Irreps | str, p: float) -> nn.Module:
    """Return a layer that drops whole channels with probability p while training."""
    return Dropout(irreps, p) if p > 0 else nn.Identity()
