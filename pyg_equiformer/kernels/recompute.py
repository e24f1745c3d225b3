"""Recomputation instead of storage, differentiable any number of times."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Function = Callable[..., Sequence[Tensor]]


def recompute(fn: Function, *tensors: Tensor) -> tuple[Tensor, ...]:
    r"""Return `fn(*tensors)` and keep nothing for the gradients but the tensors.

    The gradient evaluates `fn` once more, and is recomputed in the same way where it is differentiated itself:

    .. math:: \bar x = \mathrm{vjp}_f(x, \bar y), \qquad (\bar{\bar x}, \ldots) = \mathrm{vjp}_{\mathrm{vjp}_f}(\ldots)

    so that training on forces, with second derivatives, saves memory too (arXiv 1604.06174).

    Args:
        fn: a function of the tensors alone; it must give the same result every time (see `same_draws`).
        tensors: all that a gradient flows to, parameters included, and further inputs.

    Example:
        >>> x = torch.tensor(2.0, requires_grad=True)
        >>> (y,) = recompute(lambda x: (x**3,), x)
        >>> (g,) = torch.autograd.grad(y, x, create_graph=True)
        >>> y.item(), g.item(), torch.autograd.grad(g, x)[0].item()
        (8.0, 12.0, 12.0)
    """
    if not torch.is_grad_enabled():
        return tuple(fn(*tensors))
    out: tuple[Tensor, ...] = _Recompute.apply(fn, *tensors)
    return out


class _Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fn: Function, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.fn = fn
        ctx.save_for_backward(*tensors)
        kind = next((t.device.type for t in tensors), "cpu")
        ctx.autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        return tuple(fn(*tensors))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        wanted = [k for k, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        kind, enabled, dtype = ctx.autocast

        def gradient(*args: Tensor) -> list[Tensor]:
            again = torch.is_grad_enabled()
            with torch.enable_grad(), torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False):
                x = [_leaf(t, again, k in wanted) for k, t in enumerate(args[: len(tensors)])]
                out = ctx.fn(*x)
            pairs = [(y, g) for y, g in zip(out, args[len(tensors) :]) if y.requires_grad]
            inputs = [x[k] for k in wanted]
            if not pairs:
                return [torch.zeros_like(t) for t in inputs]
            given = torch.autograd.grad(
                [y for y, _ in pairs], inputs, [g for _, g in pairs], create_graph=again, allow_unused=True
            )
            return [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, given)]

        given = recompute(gradient, *tensors, *grads)
        out: list[Tensor | None] = [None] * len(tensors)
        for k, g in zip(wanted, given):
            out[k] = g
        return None, *out


def _leaf(t: Tensor, again: bool, wanted: bool) -> Tensor:
    """Return a tensor to differentiate by: a new one, or the very one where its gradient is differentiated again."""
    if again:
        return t if t.requires_grad or not wanted else t.detach().requires_grad_()
    return t.detach().requires_grad_(wanted)


class _Bound(nn.Module):
    """A function that uses a module, as a module, so that `functional_call` can replace the parameters."""

    def __init__(self, owner: nn.Module, fn: Function) -> None:
        super().__init__()
        self.owner, self.fn = owner, fn

    def forward(self, *args: Tensor) -> Sequence[Tensor]:
        return self.fn(*args)


def recompute_with(
    module: nn.Module, fn: Callable[..., Sequence[Tensor]], *groups: Sequence[Tensor], skip: tuple[str, ...] = ()
) -> tuple[Tensor, ...]:
    """Return `fn(*groups)`, recomputed for the gradients as by `recompute`, where `fn` uses a module's parameters.

    Random numbers, such as those of a dropout, are drawn alike each time.

    Args:
        module: whose parameters `fn` uses; they get gradients.
        fn: a function from lists of tensors to a sequence of tensors.
        groups: its arguments.
        skip: beginnings of the names of parameters that `fn` does not use.
    """
    if not torch.is_grad_enabled():
        return tuple(fn(*groups))
    flat = [t for group in groups for t in group]

    def regrouped(*tensors: Tensor) -> Sequence[Tensor]:
        rest = iter(tensors)
        return fn(*([next(rest) for _ in group] for group in groups))

    bound = _Bound(module, regrouped)
    weights = {n: p for n, p in module.named_parameters() if not (skip and n.startswith(skip))}

    def call(*args: Tensor) -> Sequence[Tensor]:
        given = {f"owner.{n}": w for n, w in zip(weights, args[len(flat) :])}
        out: Sequence[Tensor] = torch.func.functional_call(bound, given, args[: len(flat)])
        return out

    return recompute(same_draws(call, flat[0].device), *flat, *weights.values())


def same_draws(fn: Function, device: torch.device) -> Function:
    """Return `fn`, made to draw in later calls the random numbers that it drew in its first."""
    states: list[tuple[Tensor, Tensor | None]] = []
    cuda = device.type == "cuda"

    def drawn(*args: Tensor) -> Sequence[Tensor]:
        if not states:
            states.append((torch.get_rng_state(), torch.cuda.get_rng_state(device) if cuda else None))
            return fn(*args)
        with torch.random.fork_rng([device] if cuda else []):
            cpu, gpu = states[0]
            torch.set_rng_state(cpu)
            if gpu is not None:
                torch.cuda.set_rng_state(gpu, device)
            return fn(*args)

    return drawn
