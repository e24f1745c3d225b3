"""Gate and activations against e3nn and their equations, their second moments, and equivariance."""

import e3nn.nn
import pytest
import torch
from e3nn.math import normalize2mom
from e3nn.o3 import Irreps
from hypothesis import given, settings
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyg_equiformer.nn import Gate, NormActivation, ScalarActivation, channel_norm, gate_irreps, smooth_leaky_relu
from pyg_equiformer.nn.activation import SIGMOID_GAIN, SILU_GAIN, SMOOTH_LEAKY_RELU_GAIN
from pyg_equiformer.o3 import Layout
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES, any_irreps

GAINS = [
    (torch.nn.functional.silu, SILU_GAIN),
    (torch.sigmoid, SIGMOID_GAIN),
    (smooth_leaky_relu, SMOOTH_LEAKY_RELU_GAIN),
]


def e3nn_gate(scalars: str, gated: str) -> e3nn.nn.Gate:
    gates = Irreps([(Irreps(gated).num_irreps, "0e")])
    return e3nn.nn.Gate(scalars, [torch.nn.functional.silu], gates, [torch.sigmoid], gated)


@pytest.mark.parametrize("gated", ["3x1e+2x2e", "2x0o+3x1e+1x1o+2x2e"])
@pytest.mark.parametrize("device", DEVICES)
def test_gate_equals_e3nn_and_so_do_its_gradients(gated: str, device: str) -> None:
    gate, reference = Gate(f"4x0e+{gated}"), e3nn_gate("4x0e", gated).double().to(device)
    x = torch.randn(6, gate.irreps_in.dim, dtype=torch.float64, device=device, requires_grad=True)
    # e3nn sorts its input in another order.
    out, expected = gate(x), reference(Layout(reference.irreps_in).join(gate.layout_in.split(x)))
    assert torch.allclose(out, expected, rtol=1e-12, atol=1e-12)
    (a,), (b,) = (torch.autograd.grad(y.sin().sum(), x) for y in (out, expected))
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("function", "gain"), GAINS)
def test_gains_are_those_of_e3nn(function, gain: float) -> None:
    assert normalize2mom(function).cst == pytest.approx(gain, rel=1e-9)


@pytest.mark.parametrize(("function", "gain"), GAINS)
def test_gains_give_a_normal_input_unit_second_moment(function, gain: float) -> None:
    z = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    density = torch.exp(-z * z / 2)
    moment = ((gain * function(z)) ** 2 * density).sum() / density.sum()
    assert float(moment) == pytest.approx(1, abs=5e-3)  # e3nn's constants come from a finite sample


@given(any_irreps)
@settings(deadline=None, max_examples=20)
def test_gate_gives_its_irreps_needs_one_scalar_per_gated_channel_and_is_equivariant(irreps: Irreps) -> None:
    gate = Gate(irreps)
    scalars = sum(mul for mul, ir in irreps if str(ir) == "0e")
    assert gate.irreps_out == irreps
    assert gate.irreps_in == gate_irreps(irreps)
    assert gate.irreps_in.num_irreps == 2 * irreps.num_irreps - scalars
    x = torch.randn(4, gate.irreps_in.dim, dtype=torch.float64)
    assert gate(x).shape == (4, irreps.dim)
    assert_equivariant(gate, x=x, trials=1)


def test_gate_without_scalars_only_gates() -> None:
    gate = Gate("2x1o")
    assert gate.irreps_in == Irreps("2x0e+2x1o")
    out = gate(torch.cat([torch.zeros(1, 2), torch.ones(1, 6)], dim=1))
    assert torch.allclose(out, torch.full((1, 6), SIGMOID_GAIN / 2))


def test_gate_in_float32_is_equivariant() -> None:
    gate = Gate("8x0e+4x1o+2x2e")
    assert_equivariant(gate, x=torch.randn(5, gate.irreps_in.dim))


def test_empty_gate_is_refused() -> None:
    with pytest.raises(ValueError, match="irreps_out must hold at least one irrep"):
        Gate("0x0e")


def norm_activation(irreps: Irreps | str) -> NormActivation:
    """Float64, with random biases."""
    activation = NormActivation(irreps).double()
    for parameter in activation.parameters():
        torch.nn.init.normal_(parameter)
    return activation


@pytest.mark.parametrize("device", DEVICES)
def test_norm_activation_equals_its_equation_written_as_loops(device: str) -> None:
    activation = norm_activation("2x1o+3x0e+2x0o+1x2e").to(device)
    x = torch.randn(4, activation.irreps_in.dim, dtype=torch.float64, device=device)
    out = []
    for name, gain, b in zip(activation.layout_in.names, activation.gains, activation.layout_in.split(x)):
        y = torch.empty_like(b)
        for atom in range(b.shape[0]):
            for c in range(b.shape[2]):
                v = b[atom, :, c]
                n = (v.dot(v) / len(v) + 1e-4).sqrt()
                factor = SILU_GAIN * v.sigmoid() if name == "0e" else gain * (n + activation.bias[name][c]).sigmoid()
                y[atom, :, c] = factor * v
        out.append(y)
    expected = activation.layout_in.join(out)
    assert torch.allclose(activation(x), expected, rtol=1e-13, atol=1e-13)


@given(any_irreps)
@settings(deadline=None, max_examples=20)
def test_norm_activation_of_any_irreps_keeps_them_and_is_equivariant(irreps: Irreps) -> None:
    activation = norm_activation(irreps)
    assert activation.irreps_in == activation.irreps_out == irreps
    assert_equivariant(activation, trials=1)


def test_norm_activation_gives_normal_inputs_of_every_degree_unit_second_moment() -> None:
    activation = NormActivation("40x0e+40x0o+40x1o+40x2e+40x3o").double()
    x = torch.randn(2000, activation.irreps_in.dim, dtype=torch.float64)
    for block in activation.layout_out.split(activation(x).detach()):
        assert float(block.square().mean()) == pytest.approx(1, abs=0.03)


def test_norm_activation_passes_gradcheck_and_gradgradcheck() -> None:
    activation = norm_activation("1x0e+1x0o+2x1o")
    x = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(activation, x)
    assert gradgradcheck(activation, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("function", [norm_activation("2x0e+2x1o+1x2e"), channel_norm], ids=["activation", "norm"])
def test_norms_have_finite_derivatives_of_three_orders_at_zero(function, dtype: torch.dtype) -> None:
    function = function.to(dtype) if isinstance(function, NormActivation) else function
    x = torch.zeros(2, 13, 1, dtype=dtype) if function is channel_norm else torch.zeros(2, 13, dtype=dtype)
    out = function(x.requires_grad_())
    first = torch.autograd.grad(out.sin().sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.sin().sum() + 0 * x.sum(), x, create_graph=True)[0]
    third = torch.autograd.grad(second.square().sum() + 0 * x.sum(), x)[0]
    assert all(v.isfinite().all() for v in (out, first, second, third))


def test_norms_of_large_half_precision_features_do_not_overflow() -> None:
    x = torch.full((1, 3, 2), 3e4, dtype=torch.float16)
    assert torch.equal(channel_norm(x), torch.full((1, 1, 2), 3e4, dtype=torch.float16))


def test_norm_activation_of_half_precision_stays_half_precision() -> None:
    x = torch.randn(3, 8).bfloat16()
    assert NormActivation("2x0e+2x1o")(x).dtype == torch.bfloat16  # its biases are float32, as under autocast


def test_norm_activation_starts_anew_with_biases_of_zero() -> None:
    activation = norm_activation("2x0e+2x1o")
    activation.reset_parameters()
    assert all(not p.any() for p in activation.parameters())


def test_scalar_activation_is_silu_of_unit_second_moment() -> None:
    x = torch.randn(5, 3)
    assert torch.allclose(ScalarActivation()(x), SILU_GAIN * x * torch.sigmoid(x))


def test_smooth_leaky_relu_is_the_published_formula_and_smooth_at_zero() -> None:
    x = torch.linspace(-8, 8, 101, dtype=torch.float64)
    published = 0.6 * x + 0.4 * x * (2 * torch.sigmoid(x) - 1)
    assert torch.allclose(smooth_leaky_relu(x), published, rtol=0, atol=1e-14)
    assert torch.allclose(smooth_leaky_relu(10 * x), torch.where(x > 0, 10 * x, 2 * x), atol=0.3)

    def derivative(x: Tensor) -> Tensor:
        return torch.func.grad(smooth_leaky_relu)(x)

    at_zero = torch.tensor([-1e-9, 1e-9], dtype=torch.float64)
    left, right = torch.vmap(torch.func.grad(derivative))(at_zero)
    assert torch.allclose(left, right, atol=1e-8)
