# mypy: disable-error-code="assignment, var-annotated"
"""The fused Triton kernel: every derivative of one pair's product, from the nodes' features to its result."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ...o3 import CouplingPlan

try:
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError(
        'engine "triton" needs Triton, which comes with PyTorch for CUDA (or pip install triton)'
    ) from error

#: Per path of a pair: first harmonic, number of harmonics, and the nonzero coefficients as lists of (a, b, C):
#: by output component (harmonic, input), by input component (harmonic, output), by harmonic (input, output).
Terms = tuple[tuple[int, int, tuple, tuple, tuple], ...]


@triton.jit
def coupled(start, a, b, TERMS: tl.constexpr):
    """Return start + Σ C a b over the terms (index of a, index of b, C), written out."""
    total = start
    for k in tl.static_range(len(TERMS)):
        total += (TERMS[k][2] * a[TERMS[k][0]]) * b[TERMS[k][1]]
    return total


@triton.jit(do_not_specialize=["edges"])
def derivatives_kernel(
    src,
    dst,
    source,
    target,
    sh,
    weight,
    grad,
    out_x,
    out_sh,
    out_weight,
    out_product,
    edges,
    D_IN: tl.constexpr,
    D_OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
    HARMONICS: tl.constexpr,
    WEIGHTS: tl.constexpr,
    FIRST_WEIGHT: tl.constexpr,
    TERMS: tl.constexpr,
    ADD_X: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write those derivatives of g · w ⊙ (x ⊗ Y) for which there is a place: by x, Y, w and g.

    One program owns BLOCK_E edges and BLOCK_C channels. What is None (dst, weight, places) is compiled away, and so
    are the loops over the terms. A factor is not read for the derivative by itself.
    """
    e = (tl.program_id(0).to(tl.int64) * BLOCK_E + tl.arange(0, BLOCK_E))[:, None]
    c = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    here = e < edges
    on = here & (c < CHANNELS)
    zero = tl.zeros((BLOCK_E, BLOCK_C), dtype=ACC)

    from_row = e if source is None else tl.load(source + e, mask=here, other=0)
    to_row = e if target is None else tl.load(target + e, mask=here, other=0)
    x = ()
    x_bar = ()
    for m in tl.static_range(D_IN):
        x_bar = x_bar + (zero,)  # noqa: RUF005
        if out_sh is not None or out_weight is not None or out_product is not None:
            x_m = tl.load(src + (from_row * D_IN + m) * CHANNELS + c, mask=on, other=0).to(ACC)
            if dst is not None:
                x_m += tl.load(dst + (to_row * D_IN + m) * CHANNELS + c, mask=on, other=0).to(ACC)
            x = x + (x_m,)  # noqa: RUF005

    for p in tl.static_range(len(TERMS)):
        y = ()
        for m in tl.static_range(TERMS[p][1]):
            y_m = tl.load(sh + e * HARMONICS + TERMS[p][0] + m, mask=here, other=0).to(ACC)
            y = y + (y_m,)  # noqa: RUF005
        columns = FIRST_WEIGHT + p * CHANNELS + c
        if weight is not None:
            w = tl.load(weight + e * WEIGHTS + columns, mask=on, other=0).to(ACC)
        w_bar = zero
        g = ()  # of this path's product, times w
        for m in tl.static_range(D_OUT):
            place = ((e * D_OUT + m) * len(TERMS) + p) * CHANNELS + c
            if grad is not None:
                g_m = tl.load(grad + place, mask=on, other=0).to(ACC)
            if out_product is not None or out_weight is not None:
                u = coupled(zero, y, x, TERMS[p][2][m])
                if out_weight is not None:
                    w_bar += g_m * u
                if out_product is not None:
                    if weight is not None:
                        u *= w
                    tl.store(out_product + place, u, mask=on)
            if out_x is not None or out_sh is not None:
                if weight is not None:
                    g_m *= w
                g = g + (g_m,)  # noqa: RUF005
        if out_weight is not None:
            tl.store(out_weight + e * WEIGHTS + columns, w_bar, mask=on)
        if out_x is not None:
            total = ()
            for m in tl.static_range(D_IN):
                total = total + (coupled(x_bar[m], y, g, TERMS[p][3][m]),)  # noqa: RUF005
            x_bar = total
        if out_sh is not None:
            for m in tl.static_range(TERMS[p][1]):
                y_bar = tl.sum(coupled(zero, x, g, TERMS[p][4][m]), axis=1, keep_dims=True)
                # Every block of channels has a plane of its own; the pairs add to it one after the other.
                at = out_sh + (tl.program_id(1) * edges.to(tl.int64) + e) * HARMONICS + TERMS[p][0] + m
                tl.store(at, tl.load(at, mask=here, other=0) + y_bar, mask=here)

    if out_x is not None:
        for m in tl.static_range(D_IN):
            at_x = out_x + (e * D_IN + m) * CHANNELS + c
            v = x_bar[m]
            if ADD_X:
                v += tl.load(at_x, mask=on, other=0)
            tl.store(at_x, v, mask=on)


#: Whether Triton was imported with TRITON_INTERPRET=1, so that kernels run on the CPU, slowly.
INTERPRETED = not any(isinstance(f, triton.JITFunction) for f in (derivatives_kernel, tl.sum))


def pair_terms(plan: CouplingPlan) -> list[Terms]:
    """Return the nonzero coefficients of the paths of each pair."""
    slices = plan.irreps_sh.slices()
    out = []
    for pair, part in zip(plan.pairs, torch.split(plan.coefficients.cpu(), plan.sizes, dim=1)):
        dense = part.unflatten(1, (pair.d_in, pair.d_out, -1))
        paths = []
        for p, j in enumerate(pair.harmonics):
            c = dense[slices[j], :, :, p]  # harmonic, input, output
            paths.append((slices[j].start, len(c), _grouped(c, 2), _grouped(c, 1), _grouped(c, 0)))
        out.append(tuple(paths))
    return out


def _grouped(c: Tensor, axis: int) -> tuple[tuple[tuple[int, int, float], ...], ...]:
    """Return for each index of an axis the entries that are not zero, as (index, index, value)."""
    lists = []
    for matrix in c.unbind(axis):
        entries = matrix.abs().gt(1e-10).nonzero().tolist()
        lists.append(tuple((a, b, float(matrix[a, b])) for a, b in entries))
    return tuple(lists)


def blocks_of(channels: int) -> tuple[int, int]:
    """Return how many edges and channels one program takes: two numbers per thread and component."""
    block_c = min(64, triton.next_power_of_2(channels))
    return max(1, 256 // block_c), block_c


def planes_of(plan: CouplingPlan) -> int:
    """Return the largest number of blocks of channels."""
    return max(triton.cdiv(pair.channels, blocks_of(pair.channels)[1]) for pair in plan.pairs)


def launches(plan: CouplingPlan, terms: list[Terms]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield for each pair its constants, and whether an earlier one has begun the sum of its input's gradient."""
    first, begun = 0, set()
    for k, pair in enumerate(plan.pairs):
        block_e, block_c = blocks_of(pair.channels)
        yield (
            k,
            {
                "D_IN": pair.d_in,
                "D_OUT": pair.d_out,
                "CHANNELS": pair.channels,
                "HARMONICS": plan.irreps_sh.dim,
                "WEIGHTS": plan.weight_numel,
                "FIRST_WEIGHT": first,
                "TERMS": terms[k],
                "ADD_X": pair.i_in in begun,
                "BLOCK_E": block_e,
                "BLOCK_C": block_c,
            },
        )
        begun.add(pair.i_in)
        first += pair.numel


def run_derivatives(
    constants: list[tuple[int, dict[str, Any]]],
    inputs: list[int],
    message: tuple[list[Tensor], list[Tensor], Tensor | None, Tensor | None],
    factors: tuple[Tensor, Tensor | None, list[Tensor]],
    places: tuple[list[Tensor], Tensor | None, Tensor | None, list[Tensor]],
) -> None:
    """Launch the kernel pair by pair.

    Args:
        constants: of `launches`.
        inputs: the input type of each pair.
        message: src, dst, source, target; empty lists and None for what is missing.
        factors: harmonics [E, S], weights [E, weight_numel] or None, and g per pair, or an empty list.
        places: for the derivatives by x, per input type [E, d, C]; by Y [planes, E, S], zeros; by w [E, weight_numel];
            and by g, that is the product, per pair. Sums are in the precision of the first two.
    """
    (src, dst, source, target), (sh, weight, grad), (out_x, out_sh, out_weight, out_product) = message, factors, places
    edges = sh.shape[0]
    tensors = [*src, *dst, sh, *grad, *([] if weight is None else [weight])]
    acc = tl.float64 if any(t.dtype == torch.float64 for t in tensors) else tl.float32
    for k, constant in constants:
        i = inputs[k]
        grid = (
            triton.cdiv(edges, constant["BLOCK_E"]),
            triton.cdiv(constant["CHANNELS"], constant["BLOCK_C"]),
        )
        derivatives_kernel[grid](
            src[i],
            dst[i] if dst else None,
            source,
            target if dst else None,
            sh,
            weight,
            grad[k] if grad else None,
            out_x[i] if out_x else None,
            out_sh,
            out_weight,
            out_product[k] if out_product else None,
            edges,
            ACC=acc,
            enable_fp_fusion=True,  # Triton 3.9 warns where this is left open
            **constant,
        )
