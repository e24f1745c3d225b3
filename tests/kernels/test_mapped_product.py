"""The product with its linear maps in chunks against the product, then the maps; gradients of every order included."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer.kernels import depthwise_product, mapped, mapped_product, pair_matrices
from pyg_equiformer.kernels.mapped_product import worth_chunks
from pyg_equiformer.o3 import CouplingPlan

from .test_depthwise import DEVICES, dense, every_case, plan_of

EDGES = 10
every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three edges, so that several are met, and a last one that is shorter."""
    monkeypatch.setattr(mapped, "CHUNK", {"cpu": 3, "cuda": 3})


def arguments(plan: CouplingPlan, device: str, rows: int = EDGES) -> list[Tensor]:
    """Coupling matrices, features, weights of so many rows, and maps."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return (0.4 * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(device).requires_grad_()

    layout = plan.layout_in
    matrices = [random(EDGES, d, r) for d, r in zip(layout.dims, plan.rows)]
    x = [random(EDGES, d, c) for d, c in zip(layout.dims, layout.channels)]
    maps = [random(c, k) for k, c in enumerate(plan.channels_out)]  # one of no columns among them
    return [*matrices, *x, random(rows, plan.weight_numel), *maps]


def taken_apart(
    plan: CouplingPlan, tensors: tuple[Tensor, ...]
) -> tuple[list[Tensor], list[Tensor], Tensor, list[Tensor]]:
    n = len(plan.layout_in.types)
    return list(tensors[:n]), list(tensors[n : 2 * n]), tensors[2 * n], list(tensors[2 * n + 1 :])


def flat(blocks: list[Tensor]) -> Tensor:
    return torch.cat([b.flatten(1) for b in blocks], dim=1)


def in_chunks(plan: CouplingPlan, *tensors: Tensor) -> Tensor:
    return flat(mapped_product(plan, *taken_apart(plan, tensors)))


def reference(plan: CouplingPlan, *tensors: Tensor) -> Tensor:
    matrices, x, weight, maps = taken_apart(plan, tensors)
    weight = torch.cat([weight] * (EDGES // weight.shape[0]))
    product = dense(depthwise_product(plan, pair_matrices(plan, matrices), x, weight))
    return flat([v @ w for v, w in zip(product, maps, strict=True)])


@every_case
@every_device
@pytest.mark.parametrize("rows", [EDGES, EDGES // 2], ids=["one weight an edge", "one weight a pair of edges"])
def test_value_and_gradients_are_those_of_product_and_maps(case: str, rows: int, device: str) -> None:
    plan = plan_of(case)
    inputs = arguments(plan, device, rows)
    ours, theirs = in_chunks(plan, *inputs), reference(plan, *inputs)
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    direction = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype, device=device).view_as(ours)
    given = torch.autograd.grad(ours, inputs, direction)
    expected = torch.autograd.grad(theirs, inputs, direction)
    for a, b in zip(given, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-11)


@every_case
def test_second_and_third_derivatives_are_those_of_product_and_maps(case: str) -> None:
    plan = plan_of(case)
    inputs = arguments(plan, "cpu")
    results = []
    for f in (in_chunks, reference):
        first = torch.autograd.grad(f(plan, *inputs).sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs, create_graph=True)
        results.append([*first, *second, *torch.autograd.grad(sum(g.cos().sum() for g in second), inputs)])
    for a, b in zip(*results, strict=True):
        assert torch.linalg.vector_norm(a - b) <= 1e-10 * torch.linalg.vector_norm(b)


def test_nothing_but_the_arguments_is_kept_for_the_gradient() -> None:
    plan = plan_of("SE(3)")
    inputs = arguments(plan, "cpu")
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        mapped_product(plan, *taken_apart(plan, tuple(inputs)))
    assert {t.data_ptr() for t in kept} <= {t.data_ptr() for t in inputs}


def test_only_wanted_gradients_are_made() -> None:
    plan = plan_of("SE(3)")
    inputs = [t.detach() for t in arguments(plan, "cpu")]
    inputs[-1].requires_grad_()
    in_chunks(plan, *inputs).sum().backward()
    assert inputs[-1].grad is not None
    assert all(t.grad is None for t in inputs[:-1])


def test_plain_operations_serve_where_chunks_cannot() -> None:
    plan = plan_of("SE(3)")
    matrices, x, _, _ = taken_apart(plan, tuple(t.detach() for t in arguments(plan, "cpu")))
    assert worth_chunks(matrices, x)
    assert not worth_chunks(matrices, [b[:0] for b in x])
    assert not worth_chunks(matrices, [b.float() for b in x])
    assert not worth_chunks([t.requires_grad_() for t in matrices], x)
    with torch.no_grad():
        assert worth_chunks(matrices, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not worth_chunks(matrices, x)
    seen = []
    torch.func.vmap(lambda _: seen.append(worth_chunks([t.detach() for t in matrices], x)) or _)(torch.zeros(1))
    assert seen == [False]
