r"""Engine of one fused kernel in Triton: gather, tensor product and weights, without anything in between in memory.

The product enters every loss through a form that is linear in each of its factors,

.. math:: T(x, Y, w, g) = \sum_{e, p, c, m_1 m_2 m_3} C^p_{m_1 m_2 m_3} \,
    (x^\mathrm{src}_{j(e)} + x^\mathrm{dst}_{i(e)})_{m_1 c} \, Y_{e m_2} \, w_{e p c} \, g_{e m_3 p c} ,

so the derivatives of the derivatives of T are derivatives of T again, with a cotangent in place of a factor: one
kernel and one operator give all orders. Harmonics keep their own precision; sums are in float32, or in float64 where
any factor is.

Checked in Triton's interpreter (``TRITON_INTERPRET=1``, set before Triton is imported) and compiled for CUDA; not yet
run on a GPU.
"""

from functools import cache
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from ...o3 import CouplingPlan, Layout, coupling_plan
from ..depthwise import Part
from ..messages import Message

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
#: The factors of T.
X, SH, WEIGHT, GRAD = FACTORS = ("x", "y", "w", "g")


def refusal(plan: CouplingPlan, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why this engine cannot serve a case, or None if it can.

    Example:
        >>> refusal(coupling_plan(Layout("2x0e"), Irreps("0e"), Irreps("0e")), torch.device("cpu"), torch.float16)
        'it works in float32, float64 and bfloat16, not in torch.float16'
    """
    if dtype not in DTYPES:
        return f"it works in float32, float64 and bfloat16, not in {dtype}"
    try:
        from .triton_kernels import INTERPRETED
    except ImportError as error:
        return str(error)
    if INTERPRETED:
        return None
    if device.type != "cuda":
        return f"it needs a GPU, or TRITON_INTERPRET=1 set before Triton is imported, and the features are on {device}"
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0):
        return f"Triton needs a GPU of compute capability 8.0, got {torch.cuda.get_device_capability(device)}"
    return None


def message_product(
    plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None
) -> list[list[Part]]:
    r"""Return :math:`w \odot ((x^\mathrm{src}_j + x^\mathrm{dst}_i) \otimes Y)`, per output type one tensor per pair.

    The coefficients are built into the kernel; `coefficients` is not read.

    Shapes:
        edge_sh [E, S]; weight [E, weight_numel] or None → for each output type a list of [E, d_out, P·C]

    Raises:
        ValueError: if harmonics, weights and indices are not of the same edges.
    """
    rows = {"weight": weight, "source": message.source, "target": message.target}
    if message.source is None:
        rows["src"] = message.src[0]
    for name, t in rows.items():
        if t is not None and t.shape[0] != edge_sh.shape[0]:
            raise ValueError(
                f"expected {name} with one row per edge, as edge_sh {list(edge_sh.shape)}, got {list(t.shape)}"
            )
    if weight is not None and weight.shape[1] != plan.weight_numel:
        raise ValueError(f"expected weights [E, {plan.weight_numel}], got {list(weight.shape)}")
    factors: dict[str, list] = {X: [*message.src, *(message.dst or [])], SH: [edge_sh], WEIGHT: [weight], GRAD: []}
    index = (message.source, message.target if message.dst else None)
    parts = derivatives(plan_name(plan), GRAD, len(message.src), index, factors)[GRAD]
    out: list[list[Part]] = [[] for _ in plan.channels_out]
    for pair, part in zip(plan.pairs, parts):
        out[pair.i_out].append(part)
    return out


@torch.compiler.assume_constant_result  # irreps cannot be guarded, and plans never change
def plan_name(plan: CouplingPlan) -> str:
    """Return a text that says what couples to what, from which a plan can be made again."""
    types = Irreps([(1, ir) for ir in plan.types])
    return f"{plan.layout_in.canonical}|{plan.irreps_sh}|{types}"


@cache
def plan_of(name: str) -> CouplingPlan:
    """Return the plan of a name."""
    irreps_in, irreps_sh, types = name.split("|")
    return coupling_plan(Layout(irreps_in), Irreps(irreps_sh), Irreps(types))


@cache
def _launches(name: str) -> list:
    from .triton_kernels import launches, pair_terms

    return list(launches(plan_of(name), pair_terms(plan_of(name))))


@torch.library.custom_op("pyg_equiformer::coupling_derivatives", mutates_args=())
def coupling_derivatives(
    name: str,
    wanted: str,
    src: list[Tensor],
    dst: list[Tensor],
    source: Tensor | None,
    target: Tensor | None,
    sh: Tensor,
    weight: Tensor | None,
    grad: list[Tensor],
) -> list[Tensor]:
    """Return the derivatives of T by the factors in `wanted`, in the order x (src, then dst), Y, w, g.

    A factor itself is not read for the derivative by it; g may be empty where only the derivative by it is wanted.
    """
    from .triton_kernels import planes_of, run_derivatives

    plan, edges = plan_of(name), sh.shape[0]
    given = [*src, *dst, sh, *grad, *([] if weight is None else [weight])]
    acc = torch.float64 if any(t.dtype == torch.float64 for t in given) else torch.float32
    out_sh = sh.new_zeros(planes_of(plan), edges, sh.shape[1], dtype=acc) if SH in wanted else None
    out_weight = None
    if WEIGHT in wanted:
        assert weight is not None
        out_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    out_x: list[Tensor] = []
    if X in wanted:  # a type that couples to nothing has no gradient
        out_x = [s.new_zeros(edges, *s.shape[1:], dtype=acc) for s in src]
    out_g = _empty_product(plan, src, sh, weight) if GRAD in wanted else []
    if edges:
        with torch.cuda.device_of(sh):
            run_derivatives(
                _launches(name),
                [pair.i_in for pair in plan.pairs],
                (_rows(src), _rows(dst), source, target),
                (sh.contiguous(), None if weight is None else weight.contiguous(), _rows(grad)),
                (out_x, out_sh, out_weight, out_g),
            )
    out = []
    if X in wanted:
        out += [_at_nodes(x, s, source) for x, s in zip(out_x, src)]
        out += [_at_nodes(x, d, target) for x, d in zip(out_x, dst)]
    if out_sh is not None:
        out.append(out_sh.sum(0).to(sh.dtype))
    return out + ([] if out_weight is None else [out_weight]) + out_g


@coupling_derivatives.register_fake
def _(name, wanted, src, dst, source, target, sh, weight, grad):
    out = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in [*src, *dst]] if X in wanted else []
    out += [torch.empty_like(t, memory_format=torch.contiguous_format) for t in [sh] if SH in wanted]
    out += [torch.empty_like(t, memory_format=torch.contiguous_format) for t in [weight] if WEIGHT in wanted]
    return out + (_empty_product(plan_of(name), src, sh, weight) if GRAD in wanted else [])


def _rows(tensors: list[Tensor]) -> list[Tensor]:
    return [t.contiguous() for t in tensors]


def _empty_product(plan: CouplingPlan, src: list[Tensor], sh: Tensor, weight: Tensor | None) -> list[Tensor]:
    dtype = src[0].dtype if weight is None else torch.promote_types(src[0].dtype, weight.dtype)
    return [sh.new_empty(sh.shape[0], pair.d_out, pair.numel, dtype=dtype) for pair in plan.pairs]


def _at_nodes(x: Tensor, like: Tensor, index: Tensor | None) -> Tensor:
    """Sum over the edges of each node, if the features are those of nodes."""
    if index is not None:
        x = x.new_zeros(like.shape).index_add_(0, index, x)
    return x.to(like.dtype)


class _Derivatives(torch.autograd.Function):
    """`coupling_derivatives`, differentiable: its derivatives are derivatives of T again."""

    @staticmethod
    def forward(name: str, wanted: str, counts: tuple[int, int, int], *tensors: Any) -> tuple[Tensor, ...]:
        n_src, n_dst, _ = counts
        source, target, sh, weight, *rest = tensors
        src, dst, grad = rest[:n_src], rest[n_src : n_src + n_dst], rest[n_src + n_dst :]
        return tuple(coupling_derivatives(name, wanted, src, dst, source, target, sh, weight, grad))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.name, ctx.wanted, ctx.counts, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        source, target, sh, weight, *rest = ctx.saved_tensors
        of_sh, of_weight, *of_rest = ctx.needs_input_grad[5:]
        nodes = ctx.counts[0] + ctx.counts[1]
        factors = {X: rest[:nodes], SH: [sh], WEIGHT: [weight], GRAD: rest[nodes:]}
        needed = {X: any(of_rest[:nodes]), SH: of_sh, WEIGHT: of_weight, GRAD: any(of_rest[nodes:])}

        sums: dict[str, list[Tensor]] = {}
        given = list(cotangents)
        for slot in ctx.wanted:
            like = factors[slot] or _empty_product(plan_of(ctx.name), rest, sh, weight)
            mine, given = given[: len(like)], given[len(like) :]
            others = "".join(k for k in FACTORS if needed[k] and k != slot)
            if not others or all(h is None for h in mine):
                continue
            filled = [torch.zeros_like(t) if h is None else h for h, t in zip(mine, like)]
            parts = derivatives(ctx.name, others, ctx.counts[0], (source, target), {**factors, slot: filled})
            for k, part in parts.items():
                sums[k] = [a + b for a, b in zip(sums[k], part)] if k in sums else part
        out: list[Tensor | None] = [None] * 5
        for k in (SH, WEIGHT, X, GRAD):
            out += sums.get(k, [None] * len(factors[k]))
        return tuple(out)


@torch.compiler.allow_in_graph  # autograd takes it apart, Dynamo need not
def _apply(name: str, wanted: str, counts: tuple[int, int, int], *tensors: Tensor | None) -> tuple[Tensor, ...]:
    out: tuple[Tensor, ...] = _Derivatives.apply(name, wanted, counts, *tensors)
    return out


def derivatives(
    name: str, wanted: str, n_src: int, index: tuple[Tensor | None, Tensor | None], factors: dict[str, list]
) -> dict[str, list[Tensor]]:
    """Return the derivatives of T by the `wanted` factors, in the order of `FACTORS`.

    Args:
        name: of the plan.
        wanted: letters of `FACTORS`; a factor is not read for the derivative by itself.
        n_src: how many of the factors X are those of sources.
        index: source and target of the edges.
        factors: the tensors of each factor; those of g may be missing where only its derivative is wanted.
    """
    x, g = factors[X], factors[GRAD]
    counts = (n_src, len(x) - n_src, len(g))
    flat = list(_apply(name, wanted, counts, *index, *factors[SH], *factors[WEIGHT], *x, *g))
    out = {}
    for k in wanted:
        count = len(factors[k]) or len(flat)
        out[k], flat = flat[:count], flat[count:]
    return out
