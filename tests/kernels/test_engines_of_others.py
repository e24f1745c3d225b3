"""Engines built on other packages against the default one, derivatives included."""

from collections.abc import Callable, Sequence

import pytest
import torch
from e3nn.o3 import Irreps
from torch import Tensor

from pyg_equiformer.kernels import coupling_matrices, depthwise_product
from pyg_equiformer.kernels.engines import EngineWarning, choose_engine, engine_module, openequivariance, paths
from pyg_equiformer.kernels.messages import Message
from pyg_equiformer.o3 import CouplingPlan, Layout, coupling_plan

CASES = {
    "SE(3)": ("3x0e+2x1e+2x2e", "0e+1e+2e", "1x0e+1x1e+1x2e"),
    "E(3)": ("2x0e+1x0o+2x1e+1x1o+1x2e", "0e+1o+2e", "0e+0o+1e+1o+2e"),
    "flat order is not the blocks'": ("1x1o+2x0e+1x2e+1x1o", "1o+0e+2e", "0e+1o+2e"),
    "scalars only in": ("4x0e", "0e+1e+2e", "0e+1e+2e"),
    "scalars only out": ("3x0e+2x1o+1x2e", "0e+1o+2e", "0e"),
}
CPU = torch.device("cpu")
NODES, EDGES = 4, 6
every_case = pytest.mark.parametrize("case", CASES)
every_engine = pytest.mark.parametrize("engine", ["reference", "cuequivariance"])


def plan_of(case: str) -> CouplingPlan:
    irreps_in, irreps_sh, irreps_filter = CASES[case]
    return coupling_plan(Layout(irreps_in), Irreps(irreps_sh), Irreps(irreps_filter))


def serving(engine: str, plan: CouplingPlan):
    if engine != "reference":
        pytest.importorskip(f"{engine}_torch")
    module = engine_module(engine)
    assert module.refusal(plan, CPU, torch.float64) is None
    return module


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def oracle(plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None):
    return depthwise_product(plan, coupling_matrices(plan, coefficients, edge_sh), message.dense(), weight)


def flat(parts: list[list]) -> Tensor:
    """All parts side by side; a wrong order, or a part at the wrong place, shows."""
    dense = [[u if isinstance(u, Tensor) else u.dense() for u in pieces] for pieces in parts]
    return torch.cat([u.flatten(1) for pieces in dense for u in pieces], dim=1)


def derivatives(f: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Value, first derivatives, and derivatives of a function of the first ones."""
    out = f(*inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [out, *first, *second]


@every_engine
@every_case
def test_product_and_derivatives_equal_the_default_engines(engine: str, case: str) -> None:
    plan = plan_of(case)
    module = serving(engine, plan)
    source, target = torch.tensor([0, 1, 2, 3, 0, 2]), torch.tensor([1, 0, 1, 2, 3, 3])

    def product(engine_product, src: Tensor, dst: Tensor, edge_sh: Tensor, weight: Tensor) -> Tensor:
        split = plan.layout_in.split
        message = Message(split(src), split(dst), source, target)
        parts = engine_product(plan, plan.coefficients, edge_sh, message, weight)
        assert len(parts) == len(plan.types)
        return flat(parts)

    inputs = [random(NODES, plan.layout_in.dim, seed=0), random(NODES, plan.layout_in.dim, seed=1)]
    inputs += [random(EDGES, plan.irreps_sh.dim, seed=2), random(EDGES, plan.weight_numel, seed=3)]
    expected = derivatives(lambda *a: product(oracle, *a), inputs)
    found = derivatives(lambda *a: product(module.message_product, *a), inputs)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-11)


@every_engine
@pytest.mark.parametrize("edges", [0, 1, 5])
def test_product_without_weights_equals_the_default_engines(engine: str, edges: int) -> None:
    plan = plan_of("SE(3)")
    module = serving(engine, plan)
    message = Message(plan.layout_in.split(random(edges, plan.layout_in.dim, seed=0)))
    args = plan, plan.coefficients, random(edges, plan.irreps_sh.dim, seed=1), message, None
    out = flat(module.message_product(*args))
    assert torch.allclose(out, flat(oracle(*args)), rtol=1e-12, atol=1e-12)


@every_engine
def test_single_precision_has_single_errors(engine: str) -> None:
    plan = plan_of("E(3)")
    module = serving(engine, plan)
    x, edge_sh = random(EDGES, plan.layout_in.dim, seed=0), random(EDGES, plan.irreps_sh.dim, seed=1)
    weight = random(EDGES, plan.weight_numel, seed=2)
    exact = flat(oracle(plan, plan.coefficients, edge_sh, Message(plan.layout_in.split(x)), weight))
    message = Message(plan.layout_in.split(x.float()))
    out = flat(module.message_product(plan, plan.coefficients.float(), edge_sh.float(), message, weight.float()))
    assert out.dtype == torch.float32
    assert torch.allclose(out.double(), exact, rtol=1e-5, atol=1e-5)


def test_a_package_without_its_hardware_or_itself_says_so_and_the_default_takes_over() -> None:
    plan = plan_of("SE(3)")
    assert "GPU" in openequivariance.refusal(plan, CPU, torch.float32)
    assert "bfloat16" in openequivariance.refusal(plan, torch.device("cuda"), torch.bfloat16)
    with pytest.warns(EngineWarning, match="GPU"):
        assert choose_engine("openequivariance", plan, CPU, torch.float32) == "torch"


@every_case
def test_paths_have_one_entry_and_one_instruction_each_in_the_order_of_the_weights(case: str) -> None:
    plan = plan_of(case)
    listed = paths.paths_of(plan)
    assert sum(mul for mul, _ in listed.irreps_out) == plan.weight_numel
    assert [i_out for _, _, i_out, *_ in listed.instructions] == list(range(len(listed.irreps_out)))
    for (i, j, k, *_), (_, ir) in zip(listed.instructions, listed.irreps_out, strict=True):
        assert ir in listed.irreps_in[i].ir * listed.irreps_sh[j].ir, k
    assert hash(listed) == hash(paths.paths_of(plan_of(case)))


@every_engine
def test_compiled_code_calls_the_engine_in_eager_mode(engine: str) -> None:
    plan = plan_of("SE(3)")
    module = serving(engine, plan)
    x, edge_sh = random(EDGES, plan.layout_in.dim, seed=0), random(EDGES, plan.irreps_sh.dim, seed=1)

    def run(x: Tensor, edge_sh: Tensor) -> Tensor:
        message = Message(plan.layout_in.split(2 * x))
        return flat(module.message_product(plan, plan.coefficients, edge_sh, message, None)).sin()

    assert torch.allclose(torch.compile(run, backend="eager")(x, edge_sh), run(x, edge_sh), rtol=1e-13, atol=1e-13)
