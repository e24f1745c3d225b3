"""Linear maps against e3nn and against loops, on edges and after the sum."""

import e3nn.o3
import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings
from torch import Tensor
from torch.autograd import gradgradcheck

from pyg_equiformer.kernels import pair_matrices, segment_sum
from pyg_equiformer.nn import DepthwiseTensorProduct, Linear, PathLinear
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES, any_irreps

SORTED = ("5x0e+2x0o+3x1e+2x1o+1x2e", "4x0e+3x0o+2x1e+1x1o+2x2e")
UNSORTED = ("3x1o+2x0e+1x2e+2x1o+3x0e", "2x1o+1x0e+2x1o+4x0e+2x3e")


def e3nn_linear(linear: Linear) -> e3nn.o3.Linear:
    """e3nn's linear layer with the weights of ours."""
    bias = linear.types.bias is not None
    other = e3nn.o3.Linear(linear.irreps_in, linear.irreps_out, biases=bias).double()
    entries_in, entries_out = linear.layout_in.entries, linear.layout_out.entries
    with torch.no_grad():
        for k, ins in enumerate(other.instructions):
            if ins.i_in == -1:
                continue
            _, row, rows = entries_in[ins.i_in]
            block, column, columns = entries_out[ins.i_out]
            weight = linear.types.weight[linear.layout_out.names[block]]
            view = other.weight_view_for_instruction(k)
            view.copy_(weight[row : row + rows, column : column + columns] / ins.path_weight)
        if bias:
            other.bias.copy_(linear.types.bias)
    return other


def perturbed(layer: torch.nn.Module) -> torch.nn.Module:
    """Float64, and biases that are not zero."""
    layer = layer.double()
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("irreps", [SORTED, UNSORTED], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("device", DEVICES)
def test_equals_e3nn_and_so_do_its_gradients(irreps: tuple[str, str], bias: bool, device: str) -> None:
    linear = perturbed(Linear(*irreps, bias=bias)).to(device)
    x = torch.randn(7, linear.irreps_in.dim, dtype=torch.float64, device=device, requires_grad=True)
    out, expected = linear(x), e3nn_linear(linear).to(device)(x)
    assert torch.allclose(out, expected, rtol=0, atol=1e-13)
    (a,), (b,) = (torch.autograd.grad(y.sin().sum(), x) for y in (out, expected))
    assert torch.allclose(a, b, rtol=0, atol=1e-13)


@given(any_irreps, any_irreps)
@settings(deadline=None, max_examples=20)
def test_any_irreps_give_the_right_width_and_stay_equivariant(irreps_in: Irreps, irreps_out: Irreps) -> None:
    linear = perturbed(Linear(irreps_in, irreps_out))
    assert linear(torch.zeros(2, 3, irreps_in.dim, dtype=torch.float64)).shape == (2, 3, irreps_out.dim)
    assert_equivariant(linear, trials=1)


def test_output_types_that_the_input_lacks_are_zero_but_for_the_bias() -> None:
    linear = perturbed(Linear("2x1o", "3x0e+2x1e+1x1o"))
    out = linear(torch.randn(4, 6, dtype=torch.float64))
    assert torch.equal(out[:, :3], linear.types.bias.expand(4, 3))
    assert not out[:, 3:9].any()
    assert out[:, 9:].any()


def test_only_even_scalars_have_a_bias() -> None:
    assert Linear("2x0e", "3x0e+2x0o+2x1e").types.bias.shape == (3,)
    assert Linear("2x0o+2x1o", "2x0o+2x1o").types.bias is None
    assert Linear("2x0e", "3x0e", bias=False).types.bias is None


def test_weights_start_normal_with_variance_one_over_fan_in_and_bias_zero() -> None:
    torch.manual_seed(0)
    linear = Linear("200x0e+100x1e", "300x0e+200x1e")
    assert linear.types.weight["0e"].detach().std() == pytest.approx(200**-0.5, rel=0.02)
    assert linear.types.weight["1e"].detach().std() == pytest.approx(100**-0.5, rel=0.02)
    assert not linear.types.bias.any()


def test_reset_parameters_draws_anew_and_repeats_with_the_seed() -> None:
    linear = Linear("4x0e+2x1e", "4x0e+2x1e")
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        linear.reset_parameters()
        draws.append(linear.types.weight["1e"].clone())
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_second_derivatives_pass_gradgradcheck() -> None:
    linear = perturbed(Linear("2x0e+1x1o", "1x0e+2x1o"))
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda x: linear(x).sin(), x)


@pytest.fixture
def product() -> DepthwiseTensorProduct:
    return DepthwiseTensorProduct("3x0e+2x1o", irreps_sh="0e+1o+2e", irreps_filter="0e+1o+2e").double()


@pytest.fixture
def parts(product: DepthwiseTensorProduct) -> list[list]:
    x, sh = torch.randn(6, 9, dtype=torch.float64), torch.randn(6, 9, dtype=torch.float64)
    return product.pairs(product.plan.layout_in.split(x), pair_matrices(product.plan, product.matrices(sh)))


def dense(parts: list[list]) -> list[Tensor]:
    return [torch.cat([u if isinstance(u, Tensor) else u.dense() for u in pieces], dim=-1) for pieces in parts]


IRREPS_OUT = "4x0e+2x0o+4x1o+2x2e"  # the product gives no 0o


def test_path_linear_equals_linear_on_the_concatenated_product(
    product: DepthwiseTensorProduct, parts: list[list]
) -> None:
    path = perturbed(PathLinear(product.plan, IRREPS_OUT))
    linear = Linear(product.irreps_out, IRREPS_OUT).double()
    linear.load_state_dict(path.state_dict())
    assert path.irreps_in == product.irreps_out
    assert path.irreps_out == Irreps(IRREPS_OUT)
    for a, b in zip(path(parts), linear.blocks(dense(parts)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


def test_path_weights_multiply_the_channels_of_the_product(product: DepthwiseTensorProduct) -> None:
    path = perturbed(PathLinear(product.plan, IRREPS_OUT))
    x = product.plan.layout_in.split(torch.randn(6, 9, dtype=torch.float64))
    matrices = pair_matrices(product.plan, product.matrices(torch.randn(6, 9, dtype=torch.float64)))
    weight = torch.randn(product.weight_numel, dtype=torch.float64)
    with_weight = path(product.pairs(x, matrices, weight.expand(6, -1)))
    for a, b in zip(path(product.pairs(x, matrices), weight), with_weight, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
def test_map_after_the_sum_equals_sum_after_the_map_head_by_head(
    product: DepthwiseTensorProduct, parts: list[list], weighted: bool
) -> None:
    heads, index = 2, torch.tensor([0, 2, 0, 2, 2, 0])
    path = perturbed(PathLinear(product.plan, IRREPS_OUT))
    weight = torch.randn(product.weight_numel, dtype=torch.float64) if weighted else None
    alpha = torch.randn(6, heads, dtype=torch.float64)  # need not sum to one
    summed = [[segment_sum(alpha[:, :, None, None] * u.unsqueeze(1), index, 3)] for u in dense(parts)]
    out = path.per_head(summed, heads, segment_sum(alpha, index, 3), weight)
    for got, value in zip(out, path(parts, weight), strict=True):
        weighted_value = value.unflatten(2, (heads, -1)) * alpha[:, None, :, None]
        assert torch.allclose(got, segment_sum(weighted_value.flatten(2), index, 3), rtol=0, atol=1e-13)


def test_trailing_pairs_may_be_missing_after_the_sum(product: DepthwiseTensorProduct) -> None:
    path = perturbed(PathLinear(product.plan, IRREPS_OUT))
    first = [[torch.randn(3, 1, ir.dim, 3, dtype=torch.float64)] for ir in product.plan.types]
    padded = [
        [torch.cat([p[0], p[0].new_zeros(3, 1, p[0].shape[2], c - 3)], dim=-1)]
        for p, c in zip(first, product.plan.channels_out)
    ]
    total = torch.ones(3, 1, dtype=torch.float64)
    for a, b in zip(path.per_head(first, 1, total), path.per_head(padded, 1, total), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-14)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"with 5 columns, got shape \(3, 6\)"):
        Linear("2x0e+1x1o", "2x0e")(torch.zeros(3, 6))


def test_repr_tells_the_irreps() -> None:
    assert "2x0e+1x1o -> 3x0e" in repr(Linear("2x0e+1x1o", "3x0e"))
