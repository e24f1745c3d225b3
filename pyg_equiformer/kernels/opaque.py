"""The mapped product as an operator that compiled code calls but does not look into."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..o3 import Blocks, CouplingPlan
from .mapped import Arguments, forward_in_chunks, gradient_in_chunks

#: Operators take plain values: a plan goes by its key.
_PLANS: dict[str, CouplingPlan] = {}


def know_plan(plan: CouplingPlan) -> None:
    """Make a plan known, before code that uses it is compiled."""
    _PLANS[plan.key] = plan


def opaque_mapped_product(
    plan: CouplingPlan, matrices: list[Tensor], x: Blocks, weight: Tensor, maps: list[Tensor]
) -> Blocks:
    """Return `mapped_product` for compiled code; differentiable once, and not by the matrices."""
    return list(_forward(plan.key, matrices, x, weight, maps))


@torch.library.custom_op("pyg_equiformer::mapped_product", mutates_args=())
def _forward(
    key: str, matrices: Sequence[Tensor], x: Sequence[Tensor], weight: Tensor, maps: Sequence[Tensor]
) -> list[Tensor]:
    return forward_in_chunks(Arguments(_PLANS[key], list(matrices), list(x), weight, list(maps)))


@_forward.register_fake
def _(
    key: str, matrices: Sequence[Tensor], x: Sequence[Tensor], weight: Tensor, maps: Sequence[Tensor]
) -> list[Tensor]:
    return [weight.new_empty(x[0].shape[0], ir.dim, w.shape[1]) for ir, w in zip(_PLANS[key].types, maps)]


@torch.library.custom_op("pyg_equiformer::mapped_product_gradient", mutates_args=())
def _gradient(
    key: str,
    matrices: Sequence[Tensor],
    x: Sequence[Tensor],
    weight: Tensor,
    maps: Sequence[Tensor],
    gy: Sequence[Tensor],
) -> list[Tensor]:
    """Return the gradients by x, weight and maps."""
    a = Arguments(_PLANS[key], list(matrices), list(x), weight, list(maps))
    g = gradient_in_chunks(a, [y.contiguous() for y in gy], of_matrices=False)
    return [*g.x, g.weight, *g.maps]


@_gradient.register_fake
def _(
    key: str,
    matrices: Sequence[Tensor],
    x: Sequence[Tensor],
    weight: Tensor,
    maps: Sequence[Tensor],
    gy: Sequence[Tensor],
) -> list[Tensor]:
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (*x, weight, *maps)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    key, matrices, x, weight, maps = inputs
    ctx.key, ctx.counts = key, (len(matrices), len(x))
    ctx.save_for_backward(*matrices, *x, weight, *maps)


def _backward(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    n, m = ctx.counts
    tensors = list(ctx.saved_tensors)
    matrices, x, weight, maps = tensors[:n], tensors[n : n + m], tensors[n + m], tensors[n + m + 1 :]
    found = _gradient(ctx.key, matrices, x, weight, maps, grads)
    return None, [None] * n, found[:m], found[m], found[m + 1 :]


_forward.register_autograd(_backward, setup_context=_keep)
