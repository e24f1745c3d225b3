"""The rotation-aligned engine: its frames, and the product against the default engine, as functions of the edges."""

import pytest
import torch
from e3nn.o3 import Irreps, rand_matrix
from torch import Tensor

from pyg_equiformer.kernels import coupling_matrices, depthwise_product
from pyg_equiformer.kernels.engines import aligned
from pyg_equiformer.kernels.messages import Message
from pyg_equiformer.o3 import CouplingPlan, Layout, SphericalHarmonics, coupling_plan

CASES = {
    "SE(3)": ("3x0e+2x1e+2x2e", "0e+1e+2e", "1x0e+1x1e+1x2e"),
    "E(3)": ("2x0e+1x0o+2x1e+1x1o+1x2e", "0e+1o+2e", "0e+0o+1e+1o+2e"),
    "degrees out of order": ("2x1o+2x0e+1x3o", "2e+1o+3o+0e", "0e+1o+2e+3o"),
    "both parities": ("2x0e+2x1o", "0e+1o+1e+2e", "0e+1o+1e"),
    "no degree 0": ("2x0e+2x1e", "1e+2e", "0e+1e"),
    "scalars only in": ("4x0e", "0e+1e+2e", "0e+1e+2e"),
    "scalars only out": ("3x0e+2x1o+1x2e", "0e+1o+2e", "0e"),
}
#: Edges that a chart could fail on: both poles, nearly so, the equator, no direction; and ordinary ones.
VECTORS = [
    [0.0, 1.0, 0.0],
    [0.0, -2.0, 0.0],
    [1e-9, -1.0, 1e-8],
    [0.6, 0.0, -0.8],
    [0.6, -0.0, 0.8],
    [0.0, 0.0, 0.0],
    [1.0, 0.0, 0.0],
    [0.3, -0.5, 1.1],
    [-1.2, 0.7, 0.2],
]
every_case = pytest.mark.parametrize("case", CASES)


def plan_of(case: str) -> CouplingPlan:
    irreps_in, irreps_sh, irreps_filter = CASES[case]
    return coupling_plan(Layout(irreps_in), Irreps(irreps_sh), Irreps(irreps_filter))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def default(plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None):
    return depthwise_product(plan, coupling_matrices(plan, coefficients, edge_sh), message.dense(), weight)


def product(engine, plan: CouplingPlan, vec: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
    """All parts side by side as a function of the edge vectors."""
    edge_sh = SphericalHarmonics(plan.irreps_sh).to(vec.dtype)(vec)
    parts = engine(plan, plan.coefficients.to(vec.dtype), edge_sh, Message(plan.layout_in.split(x)), weight)
    assert [len(pieces) for pieces in parts] == [sum(p.i_out == k for p in plan.pairs) for k in range(len(parts))]
    dense = [u if isinstance(u, Tensor) else u.dense() for pieces in parts for u in pieces]
    return torch.cat([u.flatten(1) for u in dense], dim=1)


def inputs_of(plan: CouplingPlan) -> tuple[Tensor, Tensor, Tensor]:
    vec = torch.tensor(VECTORS, dtype=torch.float64, requires_grad=True)
    return vec, random(len(vec), plan.layout_in.dim, seed=0), random(len(vec), plan.weight_numel, seed=1)


def derivatives(engine, plan: CouplingPlan, inputs) -> list[Tensor]:
    """Value, forces and the like, and derivatives of a function of these."""
    out = product(engine, plan, *inputs)
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [out, *first, *second]


@every_case
def test_product_and_derivatives_by_edges_equal_the_default_engines_the_poles_included(case: str) -> None:
    plan = plan_of(case)
    assert aligned.refusal(plan, torch.device("cpu"), torch.float64) is None
    inputs = inputs_of(plan)
    expected = derivatives(default, plan, inputs)
    for found, wanted in zip(derivatives(aligned.message_product, plan, inputs), expected, strict=True):
        scale = 1 + wanted.abs().amax()
        assert (found - wanted).abs().amax() < 1e-11 * scale


@every_case
def test_product_without_weights_equals_the_default_engines(case: str) -> None:
    plan = plan_of(case)
    vec, x, _ = inputs_of(plan)
    found = product(aligned.message_product, plan, vec, x, None)
    assert torch.allclose(found, product(default, plan, vec, x, None), rtol=1e-12, atol=1e-12)


def test_an_edge_without_direction_keeps_degree_0_alone_and_passes_no_force() -> None:
    plan = plan_of("SE(3)")
    vec = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    x, weight = random(1, plan.layout_in.dim, seed=0), random(1, plan.weight_numel, seed=1)
    out = product(aligned.message_product, plan, vec, x, weight)
    assert torch.allclose(out, product(default, plan, vec, x, weight), rtol=1e-14, atol=1e-14)
    (force,) = torch.autograd.grad(out.sum(), vec)
    assert torch.equal(force, torch.zeros_like(force))


def test_harmonics_without_degree_1_are_refused_in_words() -> None:
    plan = coupling_plan(Layout("2x0e+2x2e"), Irreps("0e+2e"), Irreps("0e+2e"))
    assert "degree 1" in aligned.refusal(plan, torch.device("cpu"), torch.float32)


def test_no_edges_give_no_rows() -> None:
    plan = plan_of("SE(3)")
    vec, x, weight = (v[:0] for v in inputs_of(plan))
    assert product(aligned.message_product, plan, vec, x, weight).shape[0] == 0


def test_single_precision_has_single_errors() -> None:
    plan = plan_of("E(3)")
    inputs = inputs_of(plan)
    found = product(aligned.message_product, plan, *(v.detach().float() for v in inputs))
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), product(default, plan, *inputs), rtol=1e-5, atol=1e-5)


def test_rotations_take_every_direction_to_the_y_axis() -> None:
    vec = torch.tensor([v for v in VECTORS if any(v)], dtype=torch.float64)
    unit = vec / vec.norm(dim=1, keepdim=True)
    rotation = aligned.rotation_to_y(unit)
    eye = torch.eye(3, dtype=torch.float64)
    assert torch.allclose(rotation @ rotation.mT, eye.expand_as(rotation), atol=1e-14)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(len(vec), dtype=torch.float64))
    assert torch.allclose((rotation @ unit.unsqueeze(2)).squeeze(2), eye[1].expand_as(unit), atol=1e-14)


def test_wigner_matrices_turn_harmonics_as_the_rotation_turns_vectors() -> None:
    rotation = rand_matrix(1, dtype=torch.float64)
    vec = random(40, 3, seed=0).detach()  # more than 2l+1 directions: they fix the matrix
    for l, d in enumerate(aligned.wigner_matrices(rotation, 6)):
        harmonics = SphericalHarmonics(f"{l}e").double()
        assert torch.allclose(harmonics(vec @ rotation[0].T), harmonics(vec) @ d[0].T, rtol=0, atol=1e-12)


def test_compiled_code_is_one_graph_and_equals_eager_code() -> None:
    plan = plan_of("SE(3)")
    vec, x, weight = (v.detach() for v in inputs_of(plan))
    edge_sh = SphericalHarmonics(plan.irreps_sh).double()(vec)

    def run(edge_sh: Tensor, x: Tensor, weight: Tensor) -> list[Tensor]:
        parts = aligned.message_product(plan, plan.coefficients, edge_sh, Message(plan.layout_in.split(x)), weight)
        return [u if isinstance(u, Tensor) else u.dense() for pieces in parts for u in pieces]

    compiled = torch.compile(run, backend="eager", fullgraph=True)
    for a, b in zip(compiled(edge_sh, x, weight), run(edge_sh, x, weight), strict=True):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-13)
