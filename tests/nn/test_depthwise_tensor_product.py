"""The depthwise tensor product as a layer on flat features."""

import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradgradcheck

from pyg_equiformer.nn import DepthwiseTensorProduct
from pyg_equiformer.o3 import even_first
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES, any_irreps, irrep_types

harmonics = st.lists(irrep_types, min_size=1, max_size=3, unique=True).map(lambda irs: Irreps([(1, ir) for ir in irs]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("irreps", "sh", "kept"),
    [
        ("4x0e+2x1e+2x2e", "0e+1e+2e", "0e+1e+2e"),
        ("3x0e+2x0o+2x1e+2x1o+1x2e+1x2o", "0e+1o+2e", "0e+0o+1e+1o+2e+2o"),
        ("2x0e+1x1o+1x2e+1x3o", "0e+1o+2e+3o", "0e+1o+2e+3o"),
    ],
    ids=["SE(3)", "E(3)", "degree 3"],
)
def test_is_equivariant(irreps: str, sh: str, kept: str, dtype: torch.dtype, device: str) -> None:
    tp = DepthwiseTensorProduct(irreps, irreps_sh=sh, irreps_filter=kept).to(device, dtype)
    rows = {"dtype": dtype, "device": device}
    assert_equivariant(
        tp,
        x=torch.randn(6, tp.irreps_in.dim, **rows),
        equivariant={"edge_sh": (tp.irreps_sh, torch.randn(6, tp.irreps_sh.dim, **rows))},
        invariant={"weight": torch.randn(6, tp.weight_numel, **rows)},
    )


@given(any_irreps, harmonics)
@settings(deadline=None, max_examples=15)
def test_input_irreps_in_any_order_give_sorted_outputs_and_stay_equivariant(irreps: Irreps, sh: Irreps) -> None:
    everything = Irreps([(1, out) for _, ir in irreps for _, harmonic in sh for out in ir * harmonic])
    tp = DepthwiseTensorProduct(irreps, irreps_sh=sh, irreps_filter=everything).double()
    assert tp.irreps_out == even_first(tp.irreps_out)
    assert tp.weight_numel == tp.irreps_out.num_irreps
    y = torch.randn(4, sh.dim, dtype=torch.float64)
    x = torch.randn(4, irreps.dim, dtype=torch.float64)
    assert_equivariant(tp, x=x, equivariant={"edge_sh": (sh, y)}, trials=1)


def test_scalar_harmonics_weigh_the_channels() -> None:
    tp = DepthwiseTensorProduct("2x0e+1x1o", irreps_sh="0e", irreps_filter="0e+1o").double()
    x, w = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    expected = x * torch.cat([w[:, :2], w[:, 2:].expand(3, 3)], dim=1)
    assert torch.allclose(tp(x, torch.ones(3, 1, dtype=torch.float64), w), expected, rtol=0, atol=1e-14)


def test_second_derivatives_pass_gradgradcheck() -> None:
    tp = DepthwiseTensorProduct("1x0e+1x1o", irreps_sh="0e+1o", irreps_filter="0e+1o").double()
    shapes = [(2, 4), (2, 4), (2, tp.weight_numel)]
    assert gradgradcheck(tp, [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in shapes])


def test_a_float32_product_turned_to_float64_is_exact() -> None:
    single = DepthwiseTensorProduct("2x1o", irreps_sh="0e+1o+2e", irreps_filter="0e+1o").float().double()
    double = DepthwiseTensorProduct("2x1o", irreps_sh="0e+1o+2e", irreps_filter="0e+1o").double()
    x, sh = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 9, dtype=torch.float64)
    assert torch.equal(single(x, sh), double(x, sh))


def test_has_no_parameters_and_tells_its_irreps() -> None:
    tp = DepthwiseTensorProduct("2x0e+1x1o", irreps_sh="0e+1o", irreps_filter="0e+1o")
    assert list(tp.parameters()) == []
    assert not tp.state_dict()
    assert "2x0e+1x1o x 1x0e+1x1o -> 3x0e+3x1o" in repr(tp)


@pytest.mark.parametrize(
    ("sh", "kept", "message"),
    [
        ("2x1o", "0e", "irreps_sh must hold each irrep once"),
        ("0e+1o", "nonsense", "irreps_filter must be irreps"),
        ("0o", "5o", "never gives any of"),
    ],
)
def test_bad_irreps_are_refused(sh: str, kept: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthwiseTensorProduct("2x0e+1x1o", irreps_sh=sh, irreps_filter=kept)


def test_features_of_another_width_are_refused() -> None:
    tp = DepthwiseTensorProduct("2x0e+1x1o", irreps_sh="0e+1o", irreps_filter="0e+1o")
    with pytest.raises(ValueError, match=r"5 columns, got shape \(3, 6\)"):
        tp(torch.zeros(3, 6), torch.zeros(3, 4))
