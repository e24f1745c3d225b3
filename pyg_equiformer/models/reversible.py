"""Reversible blocks: memory that does not grow with depth, for derivatives of any order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..kernels.recompute import same_draws
from ..o3 import Blocks
from .block import EquiformerBlock


def reversible_blocks(
    blocks: Sequence[EquiformerBlock],
    x: Blocks,
    edges: dict[str, Any],
    batch: Tensor | None = None,
    num_graphs: int | None = None,
) -> Blocks:
    r"""Return node features after some blocks, of which gradients keep the end alone (arXiv 1707.04585).

    .. math:: x_1 \leftarrow x_1 + \mathrm{Attn}(\mathrm{Norm}(x_2)), \qquad
        x_2 \leftarrow x_2 + \mathrm{FFN}(\mathrm{Norm}(x_1)), \qquad x = (x_1 + x_2) / 2

    Both streams start as x. A gradient walks back from the end, undoing block after block; that walk can be undone
    in turn, so second derivatives (training on forces) do not need more memory for more blocks either. The streams
    come back to rounding, and dropout draws the same numbers again. While `torch.compile` traces, the same equations
    are left to the compiler, which decides itself what to keep.

    Args:
        blocks: blocks with `irreps_out` like `irreps_in`.
        x: node features, one tensor [N, 2l+1, C] per type.
        edges: what the attention takes beside them: `edge_index`, `edge_sh`, `edge_attr`, …
        batch, num_graphs: graph of each atom [N], and their number.

    Raises:
        ValueError: if a block changes the irreps.

    Example:
        >>> block = EquiformerBlock("8x0e+4x1e", irreps_sh="0e+1e", edge_dim=16, heads=2)
        >>> edges = {"edge_index": torch.tensor([[0, 1, 2], [1, 0, 0]])}
        >>> edges |= {"edge_sh": torch.randn(3, 4), "edge_attr": torch.randn(3, 16)}
        >>> [b.shape for b in reversible_blocks([block], [torch.randn(3, 1, 8), torch.randn(3, 3, 4)], edges)]
        [torch.Size([3, 1, 8]), torch.Size([3, 3, 4])]
    """
    for block in blocks:
        if block.shortcut is not None:
            raise ValueError(
                f"reversible blocks keep their irreps, got a block from {block.irreps_in} to {block.irreps_out}; "
                "leave it out and call it on the result"
            )
    if not blocks:
        return x
    if torch.compiler.is_compiling():
        return _stored(blocks, x, edges, {"batch": batch, "num_graphs": num_graphs})
    leaves, spec = pytree.tree_flatten(edges)
    floats = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    reads: list[Tensor] = [leaves[k] for k in floats]
    steps = []
    for block in blocks:
        for branch in (_Attention(block, leaves, spec, floats), _FeedForward(block)):
            branch.graphs = {"batch": batch, "num_graphs": num_graphs}
            steps.append(_branch_step(branch, x, reads))
    state, _ = chain(steps, [*x, *x], reads, ())
    return [(a + b) / 2 for a, b in zip(state[: len(x)], state[len(x) :])]


def _stored(blocks: Sequence[EquiformerBlock], x: Blocks, edges: dict[str, Any], graphs: dict[str, Any]) -> Blocks:
    """Return the same features by the equations as they stand, for ordinary autograd and compilers."""
    first, second = x, x
    for block in blocks:
        y = block.attend(second, graphs=graphs, **edges)
        first = [a + b for a, b in zip(first, y)]
        y = block.feed(first, graphs=graphs)
        second = [a + b for a, b in zip(second, y)]
    return [(a + b) / 2 for a, b in zip(first, second)]


@dataclass(frozen=True)
class Step:
    r"""One step of a chain: it reads some tensors of the state and adds to others, so that it can be undone.

    .. math:: s_M \leftarrow s_M + f(s_H, r), \qquad M \cap H = \emptyset

    Attributes:
        fn: f, from the held tensors and those it reads to what it adds: to the moved ones first, then to sums.
        moved, held: places in the state, M and H.
        reads: places among the tensors that steps read and none changes, r.
        adds: names of the sums that f adds to.
        narrow: returns the step with no sums but the given ones; None: there are none to spare.
    """

    fn: Callable[..., Sequence[Tensor]]
    moved: tuple[int, ...]
    held: tuple[int, ...]
    reads: tuple[int, ...]
    adds: tuple[int, ...] = ()
    narrow: Callable[[frozenset[int]], "Step"] | None = None


def adjoint(step: Step, num_state: int, places: dict[int, int], wanted: frozenset[int]) -> Step:
    r"""Return the step that undoes a step and takes the gradient through it.

    .. math:: s_M \leftarrow s_M - f(s_H, r), \qquad \bar s_H \leftarrow \bar s_H + J_{s_H}^T \bar s_M, \qquad
        \bar r \leftarrow \bar r + J_r^T \bar s_M

    It moves :math:`(s_M, \bar s_H)` and holds :math:`(s_H, \bar s_M)`, so it is such a step again; the gradients of
    what is read are its sums.

    Args:
        step: the step.
        num_state: number of tensors in the state of its chain; their gradients follow them in the adjoint's state.
        places: where among the tensors that the adjoint reads the gradient of each sum is; a sum without is left out.
        wanted: places in `reads` that need a gradient; they name the sums of the adjoint.
    """
    if step.narrow is not None:
        step = step.narrow(frozenset(places))
    num_held, num_moved, num_reads = len(step.held), len(step.moved), len(step.reads)
    adds = tuple(k for k in step.reads if k in wanted)
    needed = [*range(num_held), *(num_held + j for j, k in enumerate(step.reads) if k in wanted)]

    def fn(*tensors: Tensor) -> list[Tensor]:
        held, moved_grads, rest = tensors[:num_held], tensors[num_held:][:num_moved], tensors[num_held + num_moved :]
        grads = (*moved_grads, *rest[num_reads:])
        out, given = _gradient(step.fn, (*held, *rest[:num_reads]), grads, needed)
        return [*(-y for y in out[:num_moved]), *given]

    return Step(
        fn,
        moved=(*step.moved, *(num_state + k for k in step.held)),
        held=(*step.held, *(num_state + k for k in step.moved)),
        reads=(*step.reads, *(places[k] for k in step.adds)),
        adds=adds,
        narrow=lambda keep: adjoint(step, num_state, places, wanted & keep),
    )


def chain(
    steps: Sequence[Step], state: Sequence[Tensor], reads: Sequence[Tensor], sums: tuple[int, ...]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the state after the steps, and the sums; for gradients of any order only the end of it is kept."""
    args = (*state, *reads)
    if torch.is_grad_enabled() and any(t.requires_grad for t in args):
        out = _Chain.apply(steps, len(state), sums, *args)
    else:
        out = _run(steps, state, reads, sums)
    return list(out[: len(state)]), list(out[len(state) :])


def _run(
    steps: Sequence[Step], state: Sequence[Tensor], reads: Sequence[Tensor], sums: tuple[int, ...]
) -> tuple[Tensor, ...]:
    state, total = list(state), dict[int, Tensor]()
    for step in steps:
        out = step.fn(*(state[k] for k in step.held), *(reads[k] for k in step.reads))
        for k, y in zip(step.moved, out):
            state[k] = state[k] + y
        for k, y in zip(step.adds, out[len(step.moved) :]):
            total[k] = total[k] + y if k in total else y
    return (*state, *(total[k] for k in sums))


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, steps: Sequence[Step], num_state: int, sums: tuple[int, ...], *args: Tensor
    ) -> tuple[Tensor, ...]:
        out = _run(steps, args[:num_state], args[num_state:], sums)
        ctx.steps, ctx.num_state, ctx.sums = steps, num_state, sums
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*out[:num_state], *args[num_state:])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        n: int = ctx.num_state
        state, reads = ctx.saved_tensors[:n], list(ctx.saved_tensors[n:])
        num_reads = len(reads)
        wanted = tuple(k for k, needed in enumerate(ctx.needs_input_grad[3 + n :]) if needed)
        state_grads = [torch.zeros_like(s) if g is None else g for s, g in zip(state, grads[:n])]
        places = {}
        for name, g in zip(ctx.sums, grads[n:]):
            if g is not None:
                places[name] = len(reads)
                reads.append(g)
        steps = [adjoint(step, n, places, frozenset(wanted)) for step in reversed(ctx.steps)]
        # A sum that only narrowed steps would have fed has no gradient.
        fed = frozenset(k for step in steps for k in step.adds)
        names = tuple(k for k in wanted if k in fed)
        out, summed = chain(steps, [*state, *state_grads], reads, names)
        given = dict(zip(names, summed))
        return None, None, None, *out[n:], *(given.get(k) for k in range(num_reads))


def _gradient(
    fn: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], grads: Sequence[Tensor], needed: Iterable[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return fn(*inputs) and its gradients by the needed inputs; differentiable if gradients are enabled."""
    again, wanted = torch.is_grad_enabled(), set(needed)
    with torch.enable_grad():
        x = [_variable(t, again) if k in wanted else t for k, t in enumerate(inputs)]
        out = list(fn(*x))
    variables = [x[k] for k in sorted(wanted)]
    pairs = [(y, g.to(y.dtype)) for y, g in zip(out, grads, strict=True) if y.requires_grad]
    given: Sequence[Tensor | None] = [None] * len(variables)
    if pairs:
        outputs, weights = zip(*pairs)
        given = torch.autograd.grad(outputs, variables, weights, create_graph=again, allow_unused=True)
    values = [torch.zeros_like(t) if g is None else g for t, g in zip(variables, given)]
    return out if again else [y.detach() for y in out], values


def _variable(t: Tensor, again: bool) -> Tensor:
    """Return a tensor to differentiate by; where that is differentiated again, one that hangs on `t`."""
    return t.view_as(t) if again and t.requires_grad else t.detach().requires_grad_()


class _Branch(nn.Module):
    """One branch of a block as a module of its own, so that `functional_call` can replace its parameters."""

    num_reads = 0
    graphs: dict[str, Any]


class _Attention(_Branch):
    def __init__(self, block: EquiformerBlock, leaves: list[Any], spec: Any, floats: list[int]) -> None:
        super().__init__()
        self.norm_attn, self.attn, self.norm_attn_out = block.norm_attn, block.attn, block.norm_attn_out
        self.drop_path = block.drop_path
        self.leaves, self.spec, self.floats = leaves, spec, floats
        self.num_reads = len(floats)

    def forward(self, x: Blocks, reads: Sequence[Tensor]) -> Blocks:
        leaves = list(self.leaves)
        for k, t in zip(self.floats, reads):
            leaves[k] = t
        edges = dict(pytree.tree_unflatten(leaves, self.spec))
        out: Blocks = self.attn(self.norm_attn(x, **self.graphs), **edges, **self.graphs)
        if self.norm_attn_out is None:
            return out
        out = self.drop_path(self.norm_attn_out(out, **self.graphs), **self.graphs)
        return out


class _FeedForward(_Branch):
    def __init__(self, block: EquiformerBlock) -> None:
        super().__init__()
        self.norm_ffn, self.ffn, self.norm_ffn_out = block.norm_ffn, block.ffn, block.norm_ffn_out
        self.drop_path = block.drop_path

    def forward(self, x: Blocks, reads: Sequence[Tensor]) -> Blocks:
        out: Blocks = self.ffn(self.norm_ffn(x, **self.graphs))
        out = out if self.norm_ffn_out is None else self.norm_ffn_out(out, **self.graphs)
        out = self.drop_path(out, **self.graphs)
        return out


def _branch_step(branch: _Branch, x: Blocks, reads: list[Tensor]) -> Step:
    """Return a branch as a step from one stream to the other; its parameters join `reads`."""
    size, device = len(x), x[0].device
    weights = dict(branch.named_parameters())
    places = (*range(branch.num_reads), *range(len(reads), len(reads) + len(weights)))
    reads += weights.values()
    cast, cast_dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    dtypes = [b.dtype for b in x]

    def fn(*tensors: Tensor) -> list[Tensor]:
        given = dict(zip(weights, tensors[size + branch.num_reads :]))
        args = (list(tensors[:size]), tensors[size:][: branch.num_reads])
        with torch.autocast(device.type, dtype=cast_dtype, enabled=cast, cache_enabled=False):
            out = torch.func.functional_call(branch, given, args)
        return [y.to(dtype) for y, dtype in zip(out, dtypes)]

    first, second = tuple(range(size)), tuple(range(size, 2 * size))
    moved, held = (first, second) if isinstance(branch, _Attention) else (second, first)
    draws = any(m.training for m in branch.children())
    return Step(same_draws(fn, device) if draws else fn, moved, held, places)
