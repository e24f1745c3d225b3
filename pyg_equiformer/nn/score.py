"""Attention scores: how much an edge matters to its target, one number per head, or per head and irrep type."""

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from e3nn.o3 import Irreps
from einops import rearrange
from torch import Tensor, nn

from ..kernels import take_rows
from ..o3 import SCALAR, Blocks, CouplingPlan, Layout, count
from .activation import SMOOTH_LEAKY_RELU_GAIN, smooth_leaky_relu
from .linear import Linear, PathLinear, share_heads

AttentionKind = Literal["mlp", "dot", "distance"]
ScalarScoreKind = Literal["distance", "dot"]


def _wide(x: Tensor) -> Tensor:
    """Return float16 as float32, in which products of its numbers do not overflow; other precisions have the range."""
    return x.float() if x.dtype == torch.float16 else x


class MLPScore(nn.Module):
    r"""Score from the message's invariants (GATv2, arXiv 2105.14491).

    .. math:: a_{ij,h} = v_h \cdot \mathrm{SmoothLeakyReLU}(W\, m_{ij}^{0e} + b)_h

    Args:
        plan: plan of the depthwise product that makes the message; `keys` maps it to what `forward` takes.
        irreps_node: irreps of the target's features.
        irreps_head: irreps of one head; its 0e channels are the width of the hidden layer.
        heads: number of heads.
        kv_heads: number of keys, each for heads / kv_heads heads. None: `heads`.
        attend_self: the target itself is scored too, see `own`.
    """

    def __init__(
        self,
        plan: CouplingPlan,
        irreps_node: Irreps,
        irreps_head: Irreps,
        heads: int,
        kv_heads: int | None = None,
        attend_self: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = heads, kv_heads or heads, count(irreps_head, SCALAR)
        irreps = Irreps([(self.kv_heads * self.width, SCALAR)])
        self.lin = PathLinear(plan, irreps)
        self.vector = nn.Parameter(torch.empty(heads, self.width))
        self.lin_self = Linear(irreps_node, irreps) if attend_self else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.lin.reset_parameters()
        nn.init.xavier_uniform_(self.vector)
        if self.lin_self is not None:
            self.lin_self.reset_parameters()

    @property
    def keys(self) -> PathLinear:
        """The linear map of the message that the score needs."""
        return self.lin

    def forward(self, x_target: Blocks, keys: Blocks, index: Tensor) -> Tensor:
        return self._of(keys)

    def own(self, x: Blocks) -> Tensor:
        """Return the scores of the nodes as their own keys [N, H]."""
        assert self.lin_self is not None  # asked for with attend_self alone
        return self._of(self.lin_self.blocks(x))

    def _of(self, keys: Blocks) -> Tensor:
        hidden = rearrange(_wide(keys[0]), "e 1 (g c) -> e g c", g=self.kv_heads)
        hidden = SMOOTH_LEAKY_RELU_GAIN * smooth_leaky_relu(hidden)
        return (share_heads(hidden, self.heads, dim=1) * self.vector).sum(-1)


class _QueryScore(nn.Module, ABC):
    """Scores that compare the target's queries with the keys of its messages, [·, d, (heads, channels)] each."""

    def __init__(
        self,
        plan: CouplingPlan,
        irreps_node: Irreps,
        irreps_head: Irreps,
        heads: int,
        kv_heads: int | None = None,
        attend_self: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads or heads
        self.layout = Layout(irreps_head)
        of_keys = Irreps([(self.kv_heads * mul, ir) for mul, ir in self.layout.canonical])
        self.query = Linear(irreps_node, Irreps([(heads * mul, ir) for mul, ir in self.layout.canonical]))
        self.key = PathLinear(plan, of_keys)
        self.key_self = Linear(irreps_node, of_keys) if attend_self else None

    def reset_parameters(self) -> None:
        for module in (self.query, self.key, self.key_self):
            if module is not None:
                module.reset_parameters()

    @property
    def keys(self) -> PathLinear:
        """The linear map of the message that the score needs."""
        return self.key

    def forward(self, x_target: Blocks, keys: Blocks, index: Tensor) -> Tensor:
        return self._compare([take_rows(self._by_head(q, self.heads), index) for q in self._queries(x_target)], keys)

    def own(self, x: Blocks) -> Tensor:
        """Return the scores of the nodes as their own keys, as `forward` does."""
        assert self.key_self is not None  # asked for with attend_self alone
        return self._compare([self._by_head(q, self.heads) for q in self._queries(x)], self.key_self.blocks(x))

    def _queries(self, x: Blocks) -> Blocks:
        return [_wide(q) for q in self.query.blocks(x)]

    @staticmethod
    def _by_head(x: Tensor, heads: int) -> Tensor:
        return rearrange(x, "e m (h c) -> e h m c", h=heads)

    def _shared(self, keys: Blocks) -> list[Tensor]:
        return [share_heads(self._by_head(_wide(k), self.kv_heads), self.heads, dim=1) for k in keys]

    @abstractmethod
    def _compare(self, queries: list[Tensor], keys: Blocks) -> Tensor:
        """Return the scores of queries, head by head, and keys."""


class DotScore(_QueryScore):
    r"""Scaled dot product of the target's query and the message's key (arXiv 2006.10503).

    .. math:: a_{ij,h} = \frac{1}{\sqrt n} \sum_l \frac{1}{\sqrt{2l+1}} \, q_{i,h}^{(l)} \cdot k_{ij,h}^{(l)}

    with n the number of irreps (channels of all types) in a head.

    Args:
        plan, irreps_node, irreps_head, heads, kv_heads, attend_self: as in `MLPScore`.
    """

    def _queries(self, x: Blocks) -> Blocks:
        number = sum(self.layout.channels)
        return [(number * d) ** -0.5 * _wide(q) for d, q in zip(self.layout.dims, self.query.blocks(x))]

    def _compare(self, queries: list[Tensor], keys: Blocks) -> Tensor:
        terms = [(q * k).flatten(2).sum(-1) for q, k in zip(queries, self._shared(keys))]
        return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]


class DistanceScore(_QueryScore):
    r"""Negative distance of query and key, channel by channel; each irrep type has a softmax of its own.

    .. math:: a_{ij,h}^{(l)} = -\frac{1}{\sqrt{C_l}} \sum_c \sqrt{|q_{i,h,c}^{(l)} - k_{ij,h,c}^{(l)}|^2 + ε}

    Without the root it would be the dot product with a bias on keys.

    Args:
        plan, irreps_node, irreps_head, heads, kv_heads, attend_self: as in `MLPScore`.
        scalars: how 0e channels are compared, by "distance" or by the "dot" product / √C.
        eps: ε.

    Shapes:
        scores [E, types, heads], in the order of the types of `irreps_head`
    """

    def __init__(
        self,
        plan: CouplingPlan,
        irreps_node: Irreps,
        irreps_head: Irreps,
        heads: int,
        kv_heads: int | None = None,
        attend_self: bool = False,
        scalars: ScalarScoreKind = "distance",
        eps: float = 1e-6,
    ) -> None:
        super().__init__(plan, irreps_node, irreps_head, heads, kv_heads, attend_self)
        if scalars not in get_args(ScalarScoreKind):
            raise ValueError(f"scalar_score must be one of {get_args(ScalarScoreKind)}, got {scalars!r}")
        self.eps = eps
        self.dots = [scalars == "dot" and ir == SCALAR for ir in self.layout.types]

    def _compare(self, queries: list[Tensor], keys: Blocks) -> Tensor:
        scores = []
        for q, k, dot in zip(queries, self._shared(keys), self.dots):
            channels = q.shape[-1]
            if dot:
                score = (q * k).flatten(2).sum(-1)
            else:
                score = -((q - k).square().sum(2) + self.eps).sqrt().sum(-1)
            scores.append(channels**-0.5 * score)
        return torch.stack(scores, dim=1)


SCORES: dict[str, type[MLPScore] | type[DotScore] | type[DistanceScore]] = {
    "mlp": MLPScore,
    "dot": DotScore,
    "distance": DistanceScore,
}
