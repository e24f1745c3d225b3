"""The plan of the depthwise product: which paths there are, in what order, with what coefficients."""

import math

import pytest
import torch
from e3nn.o3 import Irrep, Irreps, wigner_3j
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_equiformer.o3 import CouplingPlan, Layout, coupling_plan
from pyg_equiformer.testing import random_rotation, rotate

kinds = st.tuples(st.integers(0, 2), st.sampled_from([-1, 1])).map(lambda t: Irrep(*t))
any_irreps = st.lists(st.tuples(st.integers(1, 3), kinds), min_size=1, max_size=5).map(Irreps)
any_sh = st.lists(kinds, min_size=1, max_size=4, unique=True).map(lambda irs: Irreps([(1, ir) for ir in irs]))


def paths_by_definition(layout: Layout, sh: Irreps, wanted: set[Irrep]) -> list[tuple[Irrep, Irrep, int]]:
    """(output, input, harmonic) for all couplings that the triangle rule and parity allow, in order."""
    found = []
    for ir_in in layout.types:
        for j, (_, ir_sh) in enumerate(sh):
            for l in range(abs(ir_in.l - ir_sh.l), ir_in.l + ir_sh.l + 1):
                ir_out = Irrep(l, ir_in.p * ir_sh.p)
                if ir_out in wanted:
                    found.append((ir_out, ir_in, j))
    order = {ir: k for k, ir in enumerate(layout.types)}
    return sorted(found, key=lambda path: (path[0].l, -path[0].p, order[path[1]], path[2]))


def flat_paths(plan: CouplingPlan) -> list[tuple[Irrep, Irrep, int]]:
    return [(plan.types[p.i_out], plan.layout_in.types[p.i_in], j) for p in plan.pairs for j in p.harmonics]


@given(any_irreps, any_sh, any_irreps)
@settings(deadline=None, max_examples=60)
def test_paths_are_all_couplings_to_the_filter_and_0e_sorted_by_output_then_input(
    irreps: Irreps, sh: Irreps, kept: Irreps
) -> None:
    layout, wanted = Layout(irreps), {ir for _, ir in kept} | {Irrep("0e")}
    expected = paths_by_definition(layout, sh, wanted)
    if not expected:
        with pytest.raises(ValueError, match="never gives any of"):
            coupling_plan(layout, sh, kept)
        return
    plan = coupling_plan(layout, sh, kept)
    assert flat_paths(plan) == expected
    channels = dict(zip(layout.types, layout.channels))
    assert plan.weight_numel == sum(channels[ir_in] for _, ir_in, _ in expected) == plan.irreps_out.num_irreps
    assert plan.types == [ir for _, ir in plan.irreps_out]
    assert plan.coefficients.shape == (sh.dim, sum(plan.sizes))


def test_coefficients_are_3j_symbols_times_the_root_of_the_output_dimension() -> None:
    sh = Irreps("0e+1o+2e+3o")
    plan = coupling_plan(Layout("2x0e+1x1o+3x2e+1x1e"), sh, Irreps("0e+1o+1e+2e+3o"))
    slices = sh.slices()
    for pair, columns in zip(plan.pairs, torch.split(plan.coefficients, plan.sizes, dim=1)):
        ir_in, ir_out = plan.layout_in.types[pair.i_in], plan.types[pair.i_out]
        c = columns.reshape(sh.dim, pair.d_in, pair.d_out, len(pair.harmonics))
        expected = torch.zeros_like(c)
        for p, j in enumerate(pair.harmonics):
            symbol = wigner_3j(ir_in.l, sh[j].ir.l, ir_out.l, dtype=torch.float64)
            for m2, row in enumerate(range(slices[j].start, slices[j].stop)):
                expected[row, :, :, p] = math.sqrt(2 * ir_out.l + 1) * symbol[:, m2, :]
        assert torch.equal(c, expected)


def test_coefficients_commute_with_rotation() -> None:
    sh, layout = Irreps("0e+1o+2e"), Layout("1x0e+1x1o+1x2e")
    plan = coupling_plan(layout, sh, Irreps("0e+1o+2e+1e"))
    R = random_rotation(torch.Generator().manual_seed(3))
    x = [torch.randn(ir.dim, dtype=torch.float64) for ir in layout.types]
    y = torch.randn(sh.dim, dtype=torch.float64)

    def product(x: list[torch.Tensor], y: torch.Tensor) -> list[torch.Tensor]:
        flat = torch.split(y @ plan.coefficients, plan.sizes)
        return [torch.einsum("ikp,i->pk", t.view(p.d_in, p.d_out, -1), x[p.i_in]) for p, t in zip(plan.pairs, flat)]

    turned_inputs = [rotate(str(ir), R, v) for ir, v in zip(layout.types, x)]
    for pair, a, b in zip(plan.pairs, product(turned_inputs, rotate(sh, R, y)), product(x, y)):
        assert torch.allclose(a, rotate(str(plan.types[pair.i_out]), R, b), rtol=0, atol=1e-12)


def test_outputs_of_the_published_qm9_product() -> None:
    plan = coupling_plan(Layout("128x0e+64x1e+32x2e"), Irreps("0e+1e+2e"), Irreps("128x0e+64x1e+32x2e"))
    assert plan.irreps_out == Irreps("224x0e+384x1e+352x2e")
    assert plan.weight_numel == 960


def test_no_path_to_a_wanted_type_is_an_error_that_names_all_three() -> None:
    with pytest.raises(ValueError, match=r"2x2e times 1x0e never gives any of 1x1o"):
        coupling_plan(Layout("2x2e"), Irreps("0e"), Irreps("1o"))
