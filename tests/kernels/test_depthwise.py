"""The depthwise product and its sums against slow, obvious references, derivatives included."""

import math
from collections.abc import Callable, Sequence

import e3nn.o3
import pytest
import torch
from e3nn.o3 import Irreps, wigner_3j
from torch import Tensor

from pyg_equiformer.kernels import (
    attention_sum,
    attention_weighted_product,
    coupling_matrices,
    depthwise_product,
    grouped_matrices,
    neighbor_table,
    pair_matrices,
    segment_sum,
)
from pyg_equiformer.o3 import Blocks, CouplingPlan, Layout, coupling_plan

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
CASES = {
    "SE(3)": ("3x0e+2x1e+2x2e", "0e+1e+2e", "1x0e+1x1e+1x2e"),
    "E(3)": ("2x0e+1x0o+2x1e+1x1o+1x2e", "0e+1o+2e", "0e+0o+1e+1o+2e"),
    "degree 3": ("2x0e+2x1o+1x2e+1x3o", "0e+1o+2e+3o", "0e+1o+2e+3o"),
    "scalars only in": ("4x0e", "0e+1e+2e", "0e+1e+2e"),
    "scalars only out": ("3x0e+2x1o+1x2e", "0e+1o+2e", "0e"),
    "no 0e in": ("2x1o+1x2e", "0e+1o+2e", "0e+1o"),
}
#: Targets of the edges. In "regular" every target has the same number and they are sorted: no padding.
TARGETS = {
    "regular": [0, 0, 1, 1, 2, 2],
    "padded": [0, 0, 0, 1, 2, 2],
    "unsorted": [2, 0, 1, 0, 0, 2],
    "isolated nodes": [0, 0, 2, 2, 2, 4],
}
every_case = pytest.mark.parametrize("case", CASES)
every_target = pytest.mark.parametrize("target", TARGETS)
every_device = pytest.mark.parametrize("device", DEVICES)
E_ROWS = 6


def plan_of(case: str) -> CouplingPlan:
    irreps_in, irreps_sh, irreps_filter = CASES[case]
    return coupling_plan(Layout(irreps_in), Irreps(irreps_sh), Irreps(irreps_filter))


def random(*shape: int, seed: int, device: str = "cpu") -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(device).requires_grad_()


def inputs_of(plan: CouplingPlan, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Flat features, harmonics and weights of six edges."""
    return (
        random(E_ROWS, plan.layout_in.dim, seed=0, device=device),
        random(E_ROWS, plan.irreps_sh.dim, seed=1, device=device),
        random(E_ROWS, plan.weight_numel, seed=2, device=device),
    )


def dense(parts: list[list]) -> Blocks:
    """Per output type one tensor; kernels may leave a pair's product as its factors."""
    return [torch.cat([u if isinstance(u, Tensor) else u.dense() for u in pieces], dim=-1) for pieces in parts]


def matrices_of(plan: CouplingPlan, sh: Tensor) -> list[Tensor]:
    return coupling_matrices(plan, plan.coefficients.to(sh), sh)


def product(plan: CouplingPlan, x: Tensor, sh: Tensor, weight: Tensor | None) -> Tensor:
    blocks = dense(depthwise_product(plan, matrices_of(plan, sh), plan.layout_in.split(x), weight))
    return Layout(plan.irreps_out).join(blocks)


def loop_over_paths(plan: CouplingPlan, x: Tensor, sh: Tensor, weight: Tensor | None) -> Tensor:
    """The definition: path by path, channel by channel."""
    sh_slices, start, columns = plan.irreps_sh.slices(), 0, []
    blocks = plan.layout_in.split(x)
    for pair in plan.pairs:
        for j in pair.harmonics:
            ir_out, l_in = plan.types[pair.i_out], plan.layout_in.types[pair.i_in].l
            symbol = wigner_3j(l_in, plan.irreps_sh[j].ir.l, ir_out.l, dtype=torch.float64).to(x.device)
            for c in range(pair.channels):
                y = torch.einsum("ea,eb,abk->ek", blocks[pair.i_in][..., c], sh[:, sh_slices[j]], symbol)
                w = 1.0 if weight is None else weight[:, start + c, None]
                columns.append(w * math.sqrt(2 * ir_out.l + 1) * y)
            start += pair.channels
    return torch.cat(columns, dim=1)


def e3nn_product(plan: CouplingPlan, x: Tensor, sh: Tensor, weight: Tensor) -> Tensor:
    instructions, outs = [], []
    for pair in plan.pairs:
        for j in pair.harmonics:
            instructions.append((pair.i_in, j, len(outs), "uvu", True))
            outs.append((pair.channels, plan.types[pair.i_out]))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn rounds its 3j symbols to the default precision
    try:
        tp = e3nn.o3.TensorProduct(
            plan.layout_in.canonical,
            plan.irreps_sh,
            Irreps(outs),
            instructions,
            irrep_normalization="component",
            path_normalization="element",
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        torch.set_default_dtype(before)
    return tp.to(x.device)(Layout(plan.layout_in.canonical).join(plan.layout_in.split(x)), sh, weight)


def derivatives(f: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Value, first derivatives, and derivatives of a function of the first ones."""
    out = f(*inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [out, *first, *second]


def assert_same_derivatives(f: Callable[..., Tensor], g: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    for a, b in zip(derivatives(f, inputs), derivatives(g, inputs), strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-11)


@every_case
@every_device
def test_product_its_gradients_and_second_gradients_equal_a_loop_over_paths(case: str, device: str) -> None:
    plan = plan_of(case)
    assert_same_derivatives(lambda *a: product(plan, *a), lambda *a: loop_over_paths(plan, *a), inputs_of(plan, device))


@every_case
@every_device
def test_product_its_gradients_and_second_gradients_equal_e3nn(case: str, device: str) -> None:
    plan = plan_of(case)
    assert_same_derivatives(lambda *a: product(plan, *a), lambda *a: e3nn_product(plan, *a), inputs_of(plan, device))


@every_case
def test_product_without_weights_equals_weights_of_one(case: str) -> None:
    plan = plan_of(case)
    x, sh, weight = inputs_of(plan, "cpu")
    assert_same_derivatives(
        lambda x, sh: product(plan, x, sh, None), lambda x, sh: product(plan, x, sh, torch.ones_like(weight)), (x, sh)
    )


def test_product_of_no_edges_has_no_rows() -> None:
    plan = plan_of("E(3)")
    x, sh, weight = (v[:0] for v in inputs_of(plan, "cpu"))
    assert product(plan, x, sh, weight).shape == (0, plan.irreps_out.dim)


def weighted_sum(blocks: Blocks, alpha: Tensor, index: Tensor, num_nodes: int) -> Tensor:
    """Product first, sum afterwards: [N, everything]."""
    sums = [segment_sum(alpha[:, :, None, None] * b.unsqueeze(1), index, num_nodes).flatten(1) for b in blocks]
    return torch.cat(sums, dim=1)


def flat(parts: list[list[Tensor]]) -> Tensor:
    return torch.cat([torch.cat(pieces, dim=-1).flatten(1) for pieces in parts], dim=1)


@every_case
@every_target
@every_device
def test_attention_weighted_product_equals_product_then_weighted_sum(case: str, target: str, device: str) -> None:
    plan, index = plan_of(case), torch.tensor(TARGETS[target], device=device)
    num_nodes = 1 + max(TARGETS[target])
    table = neighbor_table(index, num_nodes)
    assert table is not None
    assert (table.filled is None) == (target == "regular")
    x, sh, _ = inputs_of(plan, device)
    alpha = random(E_ROWS, 2, seed=3, device=device)

    def fused(x: Tensor, sh: Tensor, alpha: Tensor) -> Tensor:
        matrices = [table.gather(t) for t in grouped_matrices(plan, plan.grouped.to(sh), sh)]
        return flat(attention_weighted_product(plan, matrices, plan.layout_in.split(x), alpha, table))

    def reference(x: Tensor, sh: Tensor, alpha: Tensor) -> Tensor:
        blocks = dense(depthwise_product(plan, matrices_of(plan, sh), plan.layout_in.split(x), None))
        return weighted_sum(blocks, alpha, index, num_nodes)

    assert_same_derivatives(fused, reference, (x, sh, alpha))


@every_case
@every_target
@every_device
def test_attention_sum_of_a_product_equals_the_sum_over_edges(case: str, target: str, device: str) -> None:
    plan, index = plan_of(case), torch.tensor(TARGETS[target], device=device)
    num_nodes = 1 + max(TARGETS[target])
    table = neighbor_table(index, num_nodes)
    assert table is not None
    alpha = random(E_ROWS, 2, seed=3, device=device)

    def parts(x: Tensor, sh: Tensor, weight: Tensor) -> list[list]:
        return depthwise_product(plan, matrices_of(plan, sh), plan.layout_in.split(x), weight)

    def fused(x: Tensor, sh: Tensor, weight: Tensor, alpha: Tensor) -> Tensor:
        return flat([attention_sum(pieces, alpha, table) for pieces in parts(x, sh, weight)])

    def reference(x: Tensor, sh: Tensor, weight: Tensor, alpha: Tensor) -> Tensor:
        return weighted_sum(dense(parts(x, sh, weight)), alpha, index, num_nodes)

    assert_same_derivatives(fused, reference, (*inputs_of(plan, device), alpha))


def test_harmonics_stay_in_their_precision_under_autocast() -> None:
    plan = plan_of("SE(3)")
    _, sh, _ = inputs_of(plan, "cpu")
    coefficients, sh = plan.coefficients.float(), sh.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = coupling_matrices(plan, coefficients, sh)
    for a, b in zip(under_autocast, coupling_matrices(plan, coefficients, sh), strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


@every_case
def test_grouped_matrices_hold_those_of_every_pair(case: str) -> None:
    plan = plan_of(case)
    sh = inputs_of(plan, "cpu")[1]
    pairs = pair_matrices(plan, grouped_matrices(plan, plan.grouped.to(sh), sh))
    for ours, theirs in zip(pairs, matrices_of(plan, sh), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
