"""The depthwise tensor product and its sums over edges, as a few batched matrix products."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ..o3 import Blocks, CouplingPlan
from .segments import NeighborTable


class Outer(NamedTuple):
    """A product of a scalar with a harmonic, left as its factors: y [E, d] and x [E, C] stand for [E, d, C].

    A linear map may then act on x alone, once instead of once per component.
    """

    y: Tensor
    x: Tensor

    def dense(self) -> Tensor:
        """Return the product [E, d, C]."""
        return self.y.unsqueeze(2) * self.x.unsqueeze(1)


#: What a pair gives: [E, d_out, P·C], or its factors.
Part = Tensor | Outer


def coupling_matrices(plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor) -> list[Tensor]:
    r"""Return for each pair the matrices :math:`T = \sum_{m_2} C_{m_1 m_2 m_3} Y_{m_2}` of all edges.

    Shapes:
        coefficients [S, Σ d_in·d_out·P], edge_sh [E, S] → one [E, d_in, d_out·P] per pair
    """
    # Geometry stays in its own precision under autocast: bf16 directions would spoil forces.
    with torch.autocast(edge_sh.device.type, enabled=False):
        flat = edge_sh.to(coefficients.dtype) @ coefficients
    parts = torch.split(flat, plan.sizes, dim=1)
    return [part.unflatten(1, (pair.d_in, -1)) for pair, part in zip(plan.pairs, parts)]


def grouped_matrices(plan: CouplingPlan, grouped: Tensor, edge_sh: Tensor) -> list[Tensor]:
    r"""Return the coupling matrices with those of all pairs of an input type side by side.

    Shapes:
        grouped: `plan.grouped`, edge_sh [E, S] → one [E, d_in, R] per input type
    """
    with torch.autocast(edge_sh.device.type, enabled=False):
        flat = edge_sh.to(grouped.dtype) @ grouped
    dims = plan.layout_in.dims
    parts = torch.split(flat, [d * r for d, r in zip(dims, plan.rows)], dim=1)
    return [part.unflatten(1, (d, r)) for part, d, r in zip(parts, dims, plan.rows)]


def pair_matrices(plan: CouplingPlan, matrices: list[Tensor]) -> list[Tensor]:
    """Return the matrices of each pair, as `coupling_matrices` gives them, from grouped ones."""
    return _by_pair(plan, matrices, dim=2)


def _by_pair(plan: CouplingPlan, tensors: list[Tensor], dim: int) -> list[Tensor]:
    """Cut the rows of each input type into those of its pairs; splits, whose gradient is one concatenation."""
    pieces = []
    for k, x in enumerate(tensors):
        sizes = [s.rows.stop - s.rows.start for s in plan.slots if s.pair.i_in == k]
        pieces.append(iter(torch.split(x, sizes, dim=dim)) if sizes else iter(()))
    return [next(pieces[s.pair.i_in]) for s in plan.slots]


def depthwise_product(
    plan: CouplingPlan, matrices: list[Tensor], x: Blocks, weight: Tensor | Sequence[Tensor] | None
) -> list[list[Part]]:
    r"""Return :math:`w \odot (x \otimes Y)`, per output type one tensor per pair, not concatenated.

    Shapes:
        x: blocks [E, d_in, C]; weight [E, weight_numel], or one [E, P·C] per pair, or None; [E/2, …] if edge k + E/2
        has the weights of edge k
        → for each output type a list of [E, d_out, P·C], or of their factors
    """
    weights: Sequence[Tensor | None] = (None,) * len(plan.pairs)
    if isinstance(weight, Tensor):
        weights = torch.split(weight, [pair.numel for pair in plan.pairs], dim=1)
    elif weight is not None:
        weights = weight
    out: list[list[Part]] = [[] for _ in plan.channels_out]
    for pair, t, w in zip(plan.pairs, matrices, weights):
        xi = x[pair.i_in]
        t = t.to(xi.dtype)
        if pair.d_in == 1:
            xi = xi.squeeze(1) if w is None else _weighted(xi.squeeze(1), w)
            outer = Outer(t.squeeze(1), xi)
            out[pair.i_out].append(outer if pair.d_out > 1 else outer.dense())
        else:
            u = torch.bmm(t.transpose(1, 2), xi)
            u = rearrange(u, "e (m p) c -> e m (p c)", m=pair.d_out)
            if w is not None:
                u = _weighted(u, w.unsqueeze(1))
            out[pair.i_out].append(u)
    return out


def _weighted(x: Tensor, w: Tensor) -> Tensor:
    """Return x times w, whose rows may serve each half of x."""
    if x.shape[0] == w.shape[0]:
        return x * w
    return x * torch.cat([w, w])


def attention_weighted_product(
    plan: CouplingPlan, matrices: list[Tensor], x: Blocks, alpha: Tensor, table: NeighborTable
) -> list[list[Tensor]]:
    r"""Return :math:`\sum_j \alpha_{ij,h} \, x_{ij} \otimes Y_{ij}` per target i and head h, sums before products.

    Coupling and sum over edges are one batched matrix product per input type: with K neighbours,
    ``[heads·R, K·d_in] @ [K·d_in, C]``. No edge ever stores its product.

    Shapes:
        matrices: grouped, and gathered by the table, [N, K, d_in, R] per input type; x: blocks [E, d_in, C];
        alpha [E, H], or [E, T, H] with weights for each output type; table of N targets with up to K edges → for each
        output type a list of [N, H, d_out, P·C]
    """
    heads = alpha.shape[-1]
    alpha = table.gather(alpha, masked=True)
    coupled = []
    for k, (t, block) in enumerate(zip(matrices, x)):
        own = alpha
        if alpha.dim() == 4:  # of each row that of its output type
            sizes = [s.rows.stop - s.rows.start for s in plan.slots if s.pair.i_in == k]
            types = [s.pair.i_out for s in plan.slots if s.pair.i_in == k]
            own = torch.cat([alpha[:, :, o : o + 1].expand(-1, -1, n, -1) for o, n in zip(types, sizes)], dim=2)
        left = rearrange(_by_head(t.to(alpha.dtype), own), "n k i h r -> n (k i) (h r)")
        right = rearrange(table.gather(block), "n k i c -> n (k i) c").to(left.dtype)
        coupled.append(torch.bmm(left.transpose(1, 2), right).unflatten(1, (heads, t.shape[3])))
    out: list[list[Tensor]] = [[] for _ in plan.channels_out]
    for s, rows in zip(plan.slots, _by_pair(plan, coupled, dim=2)):
        out[s.pair.i_out].append(rearrange(rows, "n h (m p) c -> n h m (p c)", m=s.pair.d_out))
    return out


def _by_head(t: Tensor, alpha: Tensor) -> Tensor:
    """Return t [N, K, i, r] times alpha [N, K, H], or one for each row [N, K, r, H], as [N, K, i, H, r]."""
    if alpha.dim() == 4:
        return t.unsqueeze(3) * rearrange(alpha, "n k r h -> n k 1 h r")
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return t.unsqueeze(3) * rearrange(alpha, "n k h -> n k 1 h 1")
    out: Tensor = _ByHead.apply(t, alpha)
    return out


class _ByHead(torch.autograd.Function):
    """The product of `_by_head`, with sums in its gradient that processors are fast at."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(t, alpha)
        return t.unsqueeze(3) * rearrange(alpha, "n k h -> n k 1 h 1")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        t, alpha = ctx.saved_tensors
        by_t = by_alpha = None
        if ctx.needs_input_grad[0]:
            by_t = (grad * rearrange(alpha, "n k h -> n k 1 h 1")).sum(3)
        if ctx.needs_input_grad[1]:
            # As the gradient of the product that follows lies in memory.
            g = rearrange(grad, "n k i h r -> n h r k i") * rearrange(t, "n k i r -> n 1 r k i")
            by_alpha = g.sum(2).sum(-1).transpose(1, 2)
        return by_t, by_alpha


def attention_sum(value: list[Part], alpha: Tensor, table: NeighborTable) -> list[Tensor]:
    r"""Return :math:`\sum_j \alpha_{ij,h} v_{ij}` per target i and head h.

    Shapes:
        value: [E, d, C] or their factors; alpha [E, H]; table of N targets → tensors [N, H, d, C]
    """
    left = table.gather(alpha, masked=True)
    out = []
    for v in value:
        if isinstance(v, Outer):
            y = table.gather(v.y.to(left.dtype))
            rows = rearrange(left, "n k h -> n k h 1") * rearrange(y, "n k m -> n k 1 m")
            rows = rearrange(rows, "n k h m -> n k (h m)")
            u = torch.bmm(rows.transpose(1, 2), table.gather(v.x).to(left.dtype))
            out.append(rearrange(u, "n (h m) c -> n h m c", h=alpha.shape[1]))
        else:
            u = torch.bmm(left.transpose(1, 2), rearrange(table.gather(v), "n k m c -> n k (m c)").to(left.dtype))
            out.append(rearrange(u, "n h (m c) -> n h m c", m=v.shape[1]))
    return out
