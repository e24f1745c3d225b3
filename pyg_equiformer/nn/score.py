"""Attention scores: how much an edge matters to its target, one number per head."""

from typing import Literal

import torch
from e3nn.o3 import Irreps
from einops import rearrange
from torch import Tensor, nn

from ..kernels import take_rows
from ..o3 import SCALAR, Blocks, CouplingPlan, Layout, count
from .activation import SMOOTH_LEAKY_RELU_GAIN, smooth_leaky_relu
from .linear import Linear, PathLinear

AttentionKind = Literal["mlp", "dot"]


class MLPScore(nn.Module):
    r"""Score from the message's invariants (GATv2, arXiv 2105.14491).

    .. math:: a_{ij,h} = v_h \cdot \mathrm{SmoothLeakyReLU}(W\, m_{ij}^{0e} + b)_h

    Args:
        plan: plan of the depthwise product that makes the message; `keys` maps it to what `forward` takes.
        irreps_node: irreps of the target's features (not used by this score).
        irreps_head: irreps of one head; its 0e channels are the width of the hidden layer.
        heads: number of heads.
    """

    def __init__(self, plan: CouplingPlan, irreps_node: Irreps, irreps_head: Irreps, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, count(irreps_head, SCALAR)
        self.lin = PathLinear(plan, Irreps([(heads * self.width, SCALAR)]))
        self.vector = nn.Parameter(torch.empty(heads, self.width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.lin.reset_parameters()
        nn.init.xavier_uniform_(self.vector)

    @property
    def keys(self) -> PathLinear:
        """The linear map of the message that the score needs."""
        return self.lin

    def forward(self, x_target: Blocks, keys: Blocks, index: Tensor) -> Tensor:
        hidden = rearrange(keys[0], "e 1 (h c) -> e h c", h=self.heads)
        hidden = SMOOTH_LEAKY_RELU_GAIN * smooth_leaky_relu(hidden)
        return (hidden * self.vector).sum(-1)


class DotScore(nn.Module):
    r"""Scaled dot product of the target's query and the message's key (arXiv 2006.10503).

    .. math:: a_{ij,h} = \frac{1}{\sqrt n} \sum_l \frac{1}{\sqrt{2l+1}} \, q_{i,h}^{(l)} \cdot k_{ij,h}^{(l)}

    with n the number of irreps (channels of all types) in a head.

    Args:
        plan: plan of the depthwise product that makes the message.
        irreps_node: irreps of the target's features.
        irreps_head: irreps of one head.
        heads: number of heads.
    """

    def __init__(self, plan: CouplingPlan, irreps_node: Irreps, irreps_head: Irreps, heads: int) -> None:
        super().__init__()
        self.heads = heads
        layout = Layout(irreps_head)
        irreps = Irreps([(heads * mul, ir) for mul, ir in layout.canonical])
        self.query = Linear(irreps_node, irreps)
        self.key = PathLinear(plan, irreps)
        self.scale = [(irreps_head.num_irreps * ir.dim) ** -0.5 for ir in layout.types]

    def reset_parameters(self) -> None:
        self.query.reset_parameters()
        self.key.reset_parameters()

    @property
    def keys(self) -> PathLinear:
        """The linear map of the message that the score needs."""
        return self.key

    def forward(self, x_target: Blocks, keys: Blocks, index: Tensor) -> Tensor:
        query = self.query.blocks(x_target)
        score = None
        for scale, q, k in zip(self.scale, query, keys):
            product = rearrange(take_rows(scale * q, index) * k, "e m (h c) -> e h (m c)", h=self.heads)
            term = product.sum(-1)
            score = term if score is None else score + term
        assert score is not None  # a head has at least one irrep
        return score


SCORES: dict[str, type[MLPScore] | type[DotScore]] = {"mlp": MLPScore, "dot": DotScore}
