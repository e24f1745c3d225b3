"""The checks of the Triton engine, run by test_triton.py in a process of its own: in the interpreter or on a GPU."""

import pytest
import torch
from e3nn.o3 import Irreps
from torch import Tensor

from pyg_equiformer import kernels
from pyg_equiformer.kernels import coupling_matrices
from pyg_equiformer.kernels.engines import choose_engine, triton
from pyg_equiformer.kernels.engines.triton_kernels import INTERPRETED
from pyg_equiformer.kernels.messages import Message
from pyg_equiformer.o3 import CouplingPlan, Layout, coupling_plan

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
SMALL = coupling_plan(Layout("2x0e+1x1e"), Irreps("0e+1e"), Irreps("0e+1e"))
CASES = {
    "SE(3)": ("3x0e+2x1e+1x2e", "0e+1e+2e", "1x0e+1x1e+1x2e"),
    "E(3)": ("2x0e+1x0o+2x1e+1x1o", "0e+1o+2e", "0e+0o+1e+1o"),
    "degree 3": ("1x0e+2x3o", "0e+1o+2e+3o", "0e+3o"),
    "some harmonics": ("2x1o+1x2e", "0e+2e", "0e+1o"),
    "a type that couples to nothing": ("2x0e+1x3o", "0e+1o", "0e+1o"),
}
SOURCE, TARGET = [0, 1, 2, 2, 0, 1], [1, 1, 0, 2, 0, 3]
EDGES, N_SRC, N_DST = 6, 3, 5
MAY_BE_UNUSED = {"allow_unused": True, "materialize_grads": True}
every_case = pytest.mark.parametrize("case", CASES)


def plan_of(case: str) -> CouplingPlan:
    irreps_in, irreps_sh, irreps_filter = CASES[case]
    return coupling_plan(Layout(irreps_in), Irreps(irreps_sh), Irreps(irreps_filter))


class Case:
    """Leaves, and the product of this engine and of the oracle as functions of them: src, dst, harmonics, weights."""

    def __init__(self, plan: CouplingPlan, gathered: bool = True, with_dst: bool = True, weighted: bool = True) -> None:
        self.plan, self.with_dst, self.weighted = plan, with_dst, weighted
        self.coefficients = plan.coefficients.to(DEVICE)
        self.source = torch.tensor(SOURCE, device=DEVICE) if gathered else None
        self.target = torch.tensor(TARGET, device=DEVICE)
        generator = torch.Generator().manual_seed(0)

        def leaf(*shape: int) -> Tensor:
            x = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return x.to(DEVICE).requires_grad_()

        widths = [(ir.dim, c) for ir, c in zip(plan.layout_in.types, plan.layout_in.channels)]
        self.leaves = [leaf(N_SRC if gathered else EDGES, *w) for w in widths]
        self.leaves += [leaf(N_DST, *w) for w in widths] if with_dst else []
        self.leaves += [leaf(EDGES, plan.irreps_sh.dim)]
        self.leaves += [leaf(EDGES, plan.weight_numel)] if weighted else []

    def split(self, tensors: tuple[Tensor, ...]) -> tuple[Message, Tensor, Tensor | None]:
        n = len(self.plan.layout_in.types)
        *x, sh, weight = tensors if self.weighted else (*tensors, None)
        return Message(x[:n], x[n:] if self.with_dst else None, self.source, self.target), sh, weight

    def engine(self, *tensors: Tensor) -> list[Tensor]:
        message, sh, weight = self.split(tensors)
        parts = triton.message_product(self.plan, self.coefficients.to(sh), sh, message, weight)
        return [part for parts_of_type in parts for part in parts_of_type]

    def oracle(self, *tensors: Tensor) -> list[Tensor]:
        message, sh, weight = self.split(tensors)
        matrices = coupling_matrices(self.plan, self.coefficients.to(sh), sh)
        parts = kernels.depthwise_product(self.plan, matrices, message.dense(), weight)
        return [p if isinstance(p, Tensor) else p.dense() for parts_of_type in parts for p in parts_of_type]


def derivatives(f, leaves: list[Tensor], orders: int = 2) -> list[Tensor]:
    """Values, and derivatives of nonlinear functions of values, of first derivatives, and so on."""
    values = f(*leaves)
    out = list(values)
    for _ in range(orders):
        values = torch.autograd.grad(sum(v.sin().sum() for v in values), leaves, create_graph=True, **MAY_BE_UNUSED)
        out += values
    return out


def assert_same(case: Case, orders: int = 2) -> None:
    given, expected = derivatives(case.engine, case.leaves, orders), derivatives(case.oracle, case.leaves, orders)
    for a, b in zip(given, expected, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@every_case
def test_product_and_its_first_and_second_derivatives_equal_the_oracle(case):
    assert_same(Case(plan_of(case)))


@pytest.mark.parametrize(
    ("gathered", "with_dst", "weighted"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_messages_of_every_kind_equal_the_oracle_with_and_without_weights(gathered, with_dst, weighted):
    assert_same(Case(SMALL, gathered, with_dst, weighted))


def test_third_derivatives_equal_the_oracle():
    plan = coupling_plan(Layout("1x1o"), Irreps("0e+1o"), Irreps("1e"))
    assert_same(Case(plan), orders=3)


def test_gradients_and_second_gradients_equal_differences():
    case = Case(coupling_plan(Layout("1x1o"), Irreps("1o"), Irreps("1e")), gathered=False, with_dst=False)
    f = lambda *a: tuple(case.engine(*a))  # noqa: E731
    assert torch.autograd.gradcheck(f, case.leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, case.leaves, fast_mode=True)


def test_more_channels_and_edges_than_one_program_takes_equal_the_oracle():
    case = Case(coupling_plan(Layout("67x0e+5x1e"), Irreps("0e+1e"), Irreps("0e+1e")))
    assert_same(case)


@pytest.mark.parametrize("wanted", range(6))
def test_gradient_of_one_factor_by_some_outputs_equals_the_oracle(wanted):
    """Nobody asks for the others, so they are not computed, and outputs that are not used have no gradient."""
    case = Case(SMALL)
    leaves = [leaf.detach().requires_grad_(k == wanted) for k, leaf in enumerate(case.leaves)]
    a, b = (
        torch.autograd.grad(sum(v.sin().sum() for v in f(*leaves)[1:3]), leaves[wanted])[0]
        for f in (case.engine, case.oracle)
    )
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_second_gradient_through_one_first_gradient_equals_the_oracle():
    case = Case(SMALL)
    results = []
    for f in (case.engine, case.oracle):
        (first,) = torch.autograd.grad(f(*case.leaves)[-1].sin().sum(), case.leaves[4], create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), case.leaves, **MAY_BE_UNUSED))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_lower_precision_keeps_its_type_and_is_near_float64_of_the_same_numbers(dtype, tolerance):
    case = Case(plan_of("SE(3)"))
    n = len(case.leaves) - 2  # harmonics keep float32
    low = [x.detach().to(torch.float32 if k == n else dtype).requires_grad_() for k, x in enumerate(case.leaves)]
    exact = [x.detach().double().requires_grad_() for x in low]
    results = []
    for f, leaves in ((case.engine, low), (case.oracle, exact)):
        out = f(*leaves)
        results.append([*out, *torch.autograd.grad(sum(v.sum() for v in out), leaves)])
    assert [v.dtype for v in results[0]] == [dtype] * len(out) + [x.dtype for x in low]
    for a, b in zip(*results, strict=True):
        assert (a.double() - b).abs().max() <= tolerance * b.abs().max()


def test_no_edges_give_empty_products_and_zero_gradients():
    case = Case(plan_of("SE(3)"))
    case.source, case.target = case.source[:0], case.target[:0]
    leaves = [x.detach()[: 0 if k > 5 else None].requires_grad_() for k, x in enumerate(case.leaves)]
    out = case.engine(*leaves)
    assert [v.shape for v in out] == [v.shape for v in case.oracle(*leaves)]
    assert all(not g.any() for g in torch.autograd.grad(sum(v.sum() for v in out), leaves))


def test_inputs_that_are_not_contiguous_equal_the_oracle():
    case = Case(SMALL)
    leaves = [x.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for x in case.leaves]
    for a, b in zip(derivatives(case.engine, leaves), derivatives(case.oracle, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_function_transforms_equal_the_oracle():
    case = Case(SMALL)
    results = []
    for f in (case.engine, case.oracle):
        *x, sh, weight = case.leaves
        energy = lambda sh, f=f, x=x, weight=weight: sum(v.sin().sum() for v in f(*x, sh, weight))  # noqa: E731
        force = torch.func.grad(energy)(sh)
        results.append([force, *torch.autograd.grad(force.square().sum(), case.leaves)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_compiled_forces_of_several_numbers_of_edges_are_one_graph_and_equal_the_oracle():
    case = Case(SMALL)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    def force(f, sh, weight, source, target):
        case.source, case.target = source, target
        return torch.func.grad(lambda sh: sum(v.sin().sum() for v in f(*case.leaves[:-2], sh, weight)))(sh)

    compiled = torch.compile(lambda *a: force(case.engine, *a), fullgraph=True, dynamic=True, backend=backend)
    source, target = case.source, case.target
    for edges in (6, 4, 5):
        sh, weight = (t.detach()[:edges].clone().requires_grad_() for t in case.leaves[-2:])
        args = (sh, weight, source[:edges].clone(), target[:edges].clone())
        results = [
            [r, *torch.autograd.grad(r.square().sum(), (sh, weight))]
            for r in (compiled(*args), force(case.oracle, *args))
        ]
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert len(graphs) == 1


@every_case
def test_plan_made_again_from_its_name_is_the_same(case):
    plan = plan_of(case)
    again = triton.plan_of(triton.plan_name(plan))
    assert again.pairs == plan.pairs
    assert again.types == plan.types
    assert torch.equal(again.coefficients, plan.coefficients)


def test_engine_serves_where_it_is_asked_for_and_refuses_other_types():
    plan = plan_of("SE(3)")
    assert choose_engine("triton", plan, DEVICE, torch.float32) == "triton"
    assert "float16" in str(triton.refusal(plan, DEVICE, torch.float16))


@pytest.mark.parametrize("name", ["weight", "source", "columns"])
def test_rows_that_are_not_those_of_the_edges_raise(name):
    case = Case(plan_of("SE(3)"))
    leaves = list(case.leaves)
    if name == "source":
        case.source = case.source[:-1]
    elif name == "weight":
        leaves[-1] = leaves[-1][:1]
    else:
        leaves[-1] = leaves[-1][:, :-1]
    with pytest.raises(ValueError, match="weight" if name == "columns" else name):
        case.engine(*leaves)
