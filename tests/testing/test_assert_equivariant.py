"""assert_equivariant passes what is equivariant and says how wrong the rest is."""

import re

import pytest
import torch
from torch import Tensor, nn

from pyg_equiformer.nn import EquivariantDropout, Linear
from pyg_equiformer.o3 import Layout
from pyg_equiformer.testing import assert_equivariant


def test_passes_a_layer_by_its_own_irreps_in_its_own_precision() -> None:
    for dtype in (torch.float32, torch.float64):
        seen = []
        layer = Linear("2x0e+3x1o", "1x0e+2x1o").to(dtype)
        layer.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0].dtype))
        assert_equivariant(layer)
        assert set(seen) == {dtype}


def test_passes_functions_of_given_irreps() -> None:
    assert_equivariant(lambda x: x.norm(dim=1, keepdim=True), "1o", "0e")
    assert_equivariant(lambda x: torch.linalg.cross(x[:, :3], x[:, 3:]), "2x1o", "1e")


@pytest.mark.parametrize(
    ("function", "irreps_in", "irreps_out"),
    [
        (lambda x: x * x, "1o", "1o"),
        (lambda x: x + 1, "1o", "1o"),
        (lambda x: x.flip(1), "1o", "1o"),
        (lambda x: x[:, :1], "1o", "0e"),
        (lambda x: x.relu(), "2e", "2e"),
        (lambda x: torch.cat([x[:, 3:], x[:, :3]], dim=1), "1x0e+1x1o+2x0e", "1x0e+1x1o+2x0e"),
    ],
)
def test_fails_what_does_not_turn(function, irreps_in: str, irreps_out: str) -> None:
    with pytest.raises(AssertionError, match="<lambda> is not equivariant under rotation: it is off by"):
        assert_equivariant(function, irreps_in, irreps_out)


def test_fails_a_wrong_parity_under_inversion_only() -> None:
    def cross(x: Tensor) -> Tensor:
        return torch.linalg.cross(x[:, :3], x[:, 3:])

    assert_equivariant(cross, "2x1e", "1e")
    assert_equivariant(cross, "2x1o", "1o", inversion=False)
    with pytest.raises(AssertionError, match="cross is not equivariant under inversion"):
        assert_equivariant(cross, "2x1o", "1o")


def test_tells_the_size_of_the_violation_and_where_it_is() -> None:
    def nearly(x: Tensor) -> Tensor:
        out = x.clone()
        out[2, 4] += 0.01
        return out

    with pytest.raises(AssertionError) as error:
        assert_equivariant(nearly, "2x0e+1x1o", "2x0e+1x1o", x=torch.ones(5, 5, dtype=torch.float64))
    found = re.search(
        r"off by (\S+) where .* is (\S+) \(allowed 1e-10 .*in row 2, column \d \(1x1o\)", str(error.value)
    )
    assert found, error.value
    assert 1e-3 < float(found[1]) < 0.02
    assert_equivariant(nearly, "2x0e+1x1o", "2x0e+1x1o", x=torch.ones(5, 5, dtype=torch.float64), tolerance=0.1)


def test_fails_nan_and_infinity() -> None:
    for bad in (torch.nan, torch.inf):
        with pytest.raises(AssertionError, match="off by inf"):
            assert_equivariant(lambda x, bad=bad: x[:, :1] * 0 + bad, "0e", "0e")


def test_fails_an_output_whose_shape_depends_on_orientation() -> None:
    with pytest.raises(AssertionError, match="changes its shape under rotation"):
        assert_equivariant(lambda x: x[x[:, 0] > 0], "1o", "1o", x=torch.eye(3, dtype=torch.float64) + 0.1)


def test_passes_zero_outputs_and_outputs_without_rows() -> None:
    assert_equivariant(lambda x: 0 * x, "1o", "1o")
    assert_equivariant(lambda x: x[:0], "1o", "1o")


def test_turns_equivariant_inputs_and_leaves_invariant_ones() -> None:
    y, s = torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 1, dtype=torch.float64)

    def scaled_dot(x: Tensor, y: Tensor, s: Tensor) -> Tensor:
        return s * (x * y).sum(1, keepdim=True)

    x = torch.randn(8, 3, dtype=torch.float64)
    assert_equivariant(scaled_dot, "1o", "0e", x=x, equivariant={"y": ("1o", y)}, invariant={"s": s})
    with pytest.raises(AssertionError, match="under rotation"):
        assert_equivariant(scaled_dot, "1o", "0e", x=x, invariant={"y": y, "s": s})
    with pytest.raises(AssertionError, match="under inversion"):
        assert_equivariant(scaled_dot, "1e", "0e", x=x, equivariant={"y": ("1o", y)}, invariant={"s": s})


def test_random_layers_are_tested_with_the_same_draw() -> None:
    layout = Layout("4x0e+4x1o")
    dropout = EquivariantDropout(0.5)
    assert_equivariant(lambda x: layout.join(dropout(layout.split(x))), layout.irreps, layout.irreps)
    plain = nn.Dropout(0.5)
    with pytest.raises(AssertionError, match="under rotation"):
        assert_equivariant(plain, layout.irreps, layout.irreps)


def test_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert_equivariant(lambda x: x, "1o", "1o")
    assert torch.equal(torch.rand(1), expected)


def test_missing_irreps_and_outputs_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="<lambda> has no irreps_in: pass it as an argument"):
        assert_equivariant(lambda x: x)
    with pytest.raises(ValueError, match="Identity has no irreps_out"):
        assert_equivariant(nn.Identity(), "1o")
    with pytest.raises(ValueError, match=r"must return 4 columns for 1x0e\+1x1o, got shape \(8, 3\)"):
        assert_equivariant(lambda x: x, "1o", "0e+1o")
    with pytest.raises(ValueError, match="must return 3 columns for 1x1o, got tuple"):
        assert_equivariant(lambda x: (x, x), "1o", "1o")
