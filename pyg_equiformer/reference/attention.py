"""Graph attention and dot-product attention, edge by edge."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch_geometric.utils import degree, softmax

from .layers import SCALAR, Linear, SeparableProduct, dropout_of, unit_moment

AVG_DEGREE = 15.57930850982666  # QM9 within 5 Å, as published


def cut_heads(x: Tensor, irreps_head: Irreps, heads: int) -> Tensor:
    """Cut flat features [N, heads · dim] into heads [N, heads, dim].

    The flat tensor is cut by position into one part `(heads · mul) x ir` per entry of `irreps_head`, whatever
    it holds there; each part is shared out evenly among the heads.

    Example:
        >>> cut_heads(torch.arange(8)[None], Irreps("2x0e+2x0o"), heads=2).tolist()
        [[[0, 1, 4, 5], [2, 3, 6, 7]]]
    """
    parts = x.split([heads * mul * ir.dim for mul, ir in irreps_head], dim=1)
    return torch.cat([part.unflatten(1, (heads, -1)) for part in parts], dim=2)


def join_heads(x: Tensor, irreps_head: Irreps) -> Tensor:
    """Put heads [N, heads, dim] back into flat features [N, heads · dim], the inverse of `cut_heads`."""
    return torch.cat([part.flatten(1) for part in x.split([mul * ir.dim for mul, ir in irreps_head], dim=2)], dim=1)


def sum_over_edges(messages: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """Return the sum of the messages [E, …] of each target [N, …]."""
    return messages.new_zeros(num_nodes, *messages.shape[1:]).index_add(0, target, messages)


def even_first(irreps: Irreps) -> Irreps:
    return Irreps(sorted(irreps, key=lambda e: (e.ir.l, -e.ir.p))).simplify()


class _Attention(nn.Module, ABC):
    """What both kinds of attention share.

    Args:
        irreps_in, irreps_sh, irreps_out: irreps of node features, edge harmonics and output.
        fc_neurons: number of edge scalars, then the hidden widths of the radial network.
        irreps_head: irreps of one head.
        num_heads: number of heads.
        irreps_pre_attn: irreps of the message; None: `irreps_in`.
        rescale_degree: whether the sum is multiplied by the degree (graph attention) or by the degree over
            its average (dot product).
        nonlinear_message: whether a gate and a second tensor product make the value (graph attention only).
        alpha_drop, proj_drop: dropout of attention weights and of output channels.
        avg_degree: the average degree.

    Shapes:
        x [N, irreps_in.dim], edge_index [2, E], sh [E, irreps_sh.dim], scalars [E, fc_neurons[0]]
        → [N, irreps_out.dim]
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_sh: Irreps | str,
        irreps_out: Irreps | str,
        *,
        fc_neurons: Sequence[int],
        irreps_head: Irreps | str,
        num_heads: int,
        irreps_pre_attn: Irreps | str | None = None,
        rescale_degree: bool = False,
        nonlinear_message: bool = False,
        alpha_drop: float = 0.0,
        proj_drop: float = 0.0,
        avg_degree: float = AVG_DEGREE,
    ) -> None:
        super().__init__()
        self.irreps_head, self.num_heads = Irreps(irreps_head), num_heads
        self.rescale_degree, self.nonlinear_message, self.avg_degree = rescale_degree, nonlinear_message, avg_degree
        pre = Irreps(irreps_in if irreps_pre_attn is None else irreps_pre_attn)
        self.merge_src = Linear(irreps_in, pre)
        self.merge_dst = Linear(irreps_in, pre, bias=False)
        self.irreps_heads = self.make(Irreps(irreps_in), pre, Irreps(irreps_sh), list(fc_neurons))
        self.alpha_dropout = nn.Dropout(alpha_drop)
        self.proj = Linear(self.irreps_heads, irreps_out)
        self.proj_dropout = dropout_of(irreps_out, proj_drop)

    @abstractmethod
    def make(self, irreps_in: Irreps, pre: Irreps, irreps_sh: Irreps, radial: list[int]) -> Irreps:
        """Build the layers of this kind; return the irreps of all heads together."""

    @abstractmethod
    def score_and_value(
        self, x: Tensor, message: Tensor, target: Tensor, sh: Tensor, scalars: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return scores [E, heads] and values [E, heads, irreps_head.dim]."""

    @abstractmethod
    def factor(self, degrees: Tensor) -> Tensor:
        """Return what the sum is multiplied by where `rescale_degree` is set."""

    def forward(self, x: Tensor, edge_index: Tensor, sh: Tensor, scalars: Tensor) -> Tensor:
        source, target = edge_index
        message = self.merge_src(x)[source] + self.merge_dst(x)[target]
        score, value = self.score_and_value(x, message, target, sh, scalars)
        alpha = self.alpha_dropout(softmax(score, target, num_nodes=x.shape[0]))
        out = join_heads(sum_over_edges(alpha[:, :, None] * value, target, x.shape[0]), self.irreps_head)
        if self.rescale_degree:
            out = out * self.factor(degree(target, x.shape[0], dtype=out.dtype))[:, None]
        return self.proj_dropout(self.proj(out))


class GraphAttention(_Attention):
    r"""Attention with scores from the message's scalars (GATv2), for linear and non-linear messages.

    .. math:: a_{ij,h} = v_h \cdot \mathrm{SmoothLeakyReLU}(W m_{ij}^{0e} + b)_h
    """

    def make(self, irreps_in: Irreps, pre: Irreps, irreps_sh: Irreps, radial: list[int]) -> Irreps:
        irreps_heads = even_first(self.irreps_head * self.num_heads)
        scalars = sum(mul for mul, ir in self.irreps_head if ir == SCALAR)
        self.irreps_alpha = Irreps([(scalars, SCALAR)])
        irreps_alpha = Irreps([(self.num_heads * scalars, SCALAR)])
        if self.nonlinear_message:
            self.sep_act = SeparableProduct(pre, irreps_sh, pre, radial, gate=True)
            self.sep_alpha = Linear(self.sep_act.dtp.irreps_out, irreps_alpha)
            # The published code reads the gate's output as irreps_pre_attn, whatever their order.
            self.sep_value = SeparableProduct(pre, irreps_sh, irreps_heads, None)
        else:
            self.sep = SeparableProduct(pre, irreps_sh, (irreps_alpha + irreps_heads).simplify(), radial)
        self.alpha_dot = nn.Parameter(torch.empty(1, self.num_heads, scalars))
        nn.init.xavier_uniform_(self.alpha_dot[0])
        self.alpha_act = unit_moment(smooth_leaky_relu)
        return irreps_heads

    def score_and_value(
        self, x: Tensor, message: Tensor, target: Tensor, sh: Tensor, scalars: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.nonlinear_message:
            product = self.sep_act.product(message, sh, scalars)
            hidden = cut_heads(self.sep_alpha(product), self.irreps_alpha, self.num_heads)
            value = self.sep_value(self.sep_act.finish(product), sh, scalars)
            value = cut_heads(value, self.irreps_head, self.num_heads)
        else:
            both = cut_heads(
                self.sep(message, sh, scalars), (self.irreps_alpha + self.irreps_head).simplify(), self.num_heads
            )
            hidden, value = both.split([self.irreps_alpha.dim, self.irreps_head.dim], dim=2)
        return (self.alpha_act(hidden) * self.alpha_dot).sum(-1), value

    def factor(self, degrees: Tensor) -> Tensor:
        return degrees


class DotProductAttention(_Attention):
    r"""Attention with scores from queries of the target and keys of the message; messages are linear.

    .. math:: a_{ij,h} = \frac{1}{\sqrt n}\sum_l \frac{1}{\sqrt{2l+1}}\, q_{i,h}^{(l)} \cdot k_{ij,h}^{(l)}

    with n irreps in a head. Queries, and keys with values, are laid out in the order of e3nn's `sort` (odd
    parity first) but cut in the order of `irreps_head`.
    """

    def make(self, irreps_in: Irreps, pre: Irreps, irreps_sh: Irreps, radial: list[int]) -> Irreps:
        irreps_heads = (self.irreps_head * self.num_heads).sort().irreps.simplify()
        self.query = Linear(irreps_in, irreps_heads)
        both = (self.irreps_head * (2 * self.num_heads)).sort().irreps.simplify()
        self.key_value = SeparableProduct(pre, irreps_sh, both, radial)
        per_irrep = self.irreps_head.num_irreps
        self.scale = [(per_irrep * ir.dim) ** -0.5 for mul, ir in self.irreps_head for _ in range(mul * ir.dim)]
        return irreps_heads

    def score_and_value(
        self, x: Tensor, message: Tensor, target: Tensor, sh: Tensor, scalars: Tensor
    ) -> tuple[Tensor, Tensor]:
        query = cut_heads(self.query(x), self.irreps_head, self.num_heads) * x.new_tensor(self.scale)
        both = cut_heads(self.key_value(message, sh, scalars), self.irreps_head, 2 * self.num_heads)
        key, value = both.split(self.num_heads, dim=1)
        return (query[target] * key).sum(-1), value

    def factor(self, degrees: Tensor) -> Tensor:
        return degrees / self.avg_degree


def smooth_leaky_relu(x: Tensor) -> Tensor:
    """Return a leaky ReLU of slope 0.2 that is smooth at zero: (1 + 0.2)/2 x + (1 - 0.2)/2 x (2 sigmoid(x) - 1)."""
    return 0.6 * x + 0.4 * x * (2 * torch.sigmoid(x) - 1)
