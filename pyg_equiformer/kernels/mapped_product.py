"""The depthwise product and the linear maps behind it as one operation, of which nothing is stored."""

from typing import Any

import torch
from torch import Tensor

from ..o3 import Blocks, CouplingPlan
from .depthwise import Outer, depthwise_product, pair_matrices
from .mapped import Arguments, forward_in_chunks, gradient_in_chunks
from .opaque import opaque_mapped_product


def mapped_product(plan: CouplingPlan, matrices: list[Tensor], x: Blocks, weight: Tensor, maps: list[Tensor]) -> Blocks:
    r"""Return the depthwise product, mapped by one matrix per output type.

    .. math:: y_{l_3} = \left[ w \odot (x \otimes Y) \right]_{l_3} W_{l_3}

    Autograd keeps the arguments alone: the gradient makes the product again, chunk by chunk of edges.

    Args:
        plan: of the product.
        matrices: per input type [E, d_in, R], see `grouped_matrices`.
        x: blocks [E, d_in, C].
        weight: [E, weight_numel], or [E / 2, weight_numel] if edge k + E / 2 has the weights of edge k, as the two
            directions of a pair of atoms have.
        maps: per output type [Σ P·C, O].

    Shapes:
        → per output type [E, d_out, O]
    """
    if torch.compiler.is_compiling():
        return opaque_mapped_product(plan, matrices, x, weight, maps)
    out: tuple[Tensor, ...] = _Mapped.apply(plan, *matrices, *x, weight, *maps)
    return list(out)


def worth_chunks(matrices: list[Tensor], x: Blocks) -> bool:
    """Tell whether `mapped_product` serves a case, and is the faster way.

    `torch.func` and autocast want plain operations. Where positions have gradients, a gradient of
    the gradient is to be expected, which is faster with the product stored.
    """
    return not (
        torch.is_autocast_enabled(x[0].device.type)
        or transformed()
        or x[0].shape[0] == 0
        or x[0].dtype != matrices[0].dtype
        or (torch.is_grad_enabled() and matrices[0].requires_grad)
    )


def transformed() -> bool:
    """Tell whether `torch.func` or forward differentiation is at work; compiled code knows by `requires_grad` alone."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0


def _formula(a: Arguments) -> Blocks:
    """Return the mapped product in terms of plain operations."""
    out = []
    for pieces, w in zip(depthwise_product(a.plan, pair_matrices(a.plan, a.matrices), a.x, a.weight), a.maps):
        y = None
        rows = torch.split(w, [u.x.shape[-1] if isinstance(u, Outer) else u.shape[-1] for u in pieces])
        for u, row in zip(pieces, rows):
            term = Outer(u.y, u.x @ row).dense() if isinstance(u, Outer) else u @ row
            y = term if y is None else y + term
        assert y is not None  # every type that is reached has a piece
        out.append(y)
    return out


class _Mapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: CouplingPlan, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        return tuple(forward_in_chunks(Arguments.of(plan, tensors)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted, tensors = ctx.needs_input_grad[1:], ctx.saved_tensors
        a = Arguments.of(ctx.plan, tensors)
        if not torch.is_grad_enabled():
            g = gradient_in_chunks(a, list(grads), any(wanted[: len(a.matrices)]))
            of_matrices: list[Tensor | None] = [None] * len(a.matrices) if g.matrices is None else [*g.matrices]
            found = [*of_matrices, *g.x, g.weight, *g.maps]
            return None, *(t if w else None for t, w in zip(found, wanted))
        leaves = [t for t, w in zip(tensors, wanted) if w]
        given = iter(torch.autograd.grad(_formula(a), leaves, grads, create_graph=True, allow_unused=True))
        return None, *(next(given) if w else None for w in wanted)
