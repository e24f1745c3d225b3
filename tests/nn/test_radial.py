"""Radial bases against their formulas, finite at zero, smooth at the cutoff."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyg_equiformer.nn import RadialMLP, polynomial_envelope, radial_basis

from ..strategies import DEVICES

KINDS = ["gaussian", "exp", "bessel"]
CUTOFF, K = 5.0, 8
every_kind = pytest.mark.parametrize("kind", KINDS)
every_device = pytest.mark.parametrize("device", DEVICES)


def formula(basis: torch.nn.Module, kind: str, d: Tensor) -> Tensor:
    x = d.unsqueeze(1) / CUTOFF
    if kind == "gaussian":
        sigma = basis.std.abs() + 1e-5
        z = (basis.weight * x + basis.bias - basis.mean) / sigma
        return torch.exp(-0.5 * z**2) / (math.sqrt(2 * 3.14159) * sigma)
    if kind == "exp":
        start = math.exp(-CUTOFF)
        mu = start + (1 - start) * torch.arange(K, dtype=d.dtype, device=d.device) / (K - 1)
        beta = (2 * (1 - start) / K) ** -2
        window = torch.where(x < 1, 0.5 * (torch.cos(math.pi * x) + 1), 0)
        return window * torch.exp(-beta * (torch.exp(-5 * x) - mu) ** 2)
    envelope = torch.where(x < 1, 1 - 21 * x**5 + 35 * x**6 - 15 * x**7, 0)
    return envelope * math.sqrt(2 / CUTOFF**3) * torch.sin(basis.frequencies * x) / x


@every_kind
@every_device
def test_basis_equals_its_formula_below_at_and_beyond_the_cutoff(kind: str, device: str) -> None:
    basis = radial_basis(kind, K, CUTOFF).double().to(device)
    d = torch.tensor([0.01, 0.5, 1.0, 2.5, 4.9, 5.0, 5.1, 20.0], dtype=torch.float64, device=device)
    # The buffers of "exp" are made in float32.
    assert torch.allclose(basis(d), formula(basis, kind, d), rtol=0, atol=1e-5 if kind == "exp" else 1e-12)
    if kind != "gaussian":
        assert not basis(d)[5:].any()


@every_kind
@every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_basis_and_its_first_and_second_derivatives_are_finite_at_zero(
    kind: str, dtype: torch.dtype, device: str
) -> None:
    basis = radial_basis(kind, K, CUTOFF).to(device, dtype)
    d = torch.tensor([0.0, 5.0], dtype=dtype, device=device, requires_grad=True)
    out = basis(d)
    (first,) = torch.autograd.grad(out.sin().sum(), d, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() + first.sum(), d)
    assert all(v.isfinite().all() for v in (out, first, second))


@every_kind
@every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_basis_slope_and_curvature_at_tiny_distances_are_close_to_their_limit(
    kind: str, dtype: torch.dtype, device: str
) -> None:
    basis = radial_basis(kind, K, CUTOFF).to(device, dtype).requires_grad_(False)
    slope = torch.func.jacrev(basis)
    curvature = torch.func.jacrev(slope)
    zero = torch.tensor(0.0, dtype=dtype, device=device)
    for distance in (1e-5, 1e-10, 1e-20, 1e-30):
        for f in (basis, slope, curvature):
            limit = f(zero)
            assert torch.allclose(f(zero + distance), limit, rtol=1e-2, atol=1e-2 * (1 + float(limit.abs().max())))


@every_kind
def test_basis_at_zero_is_its_limit(kind: str) -> None:
    basis = radial_basis(kind, K, CUTOFF).double()
    near, zero = (basis(torch.tensor([d], dtype=torch.float64)) for d in (1e-7, 0.0))
    assert torch.allclose(near, zero, atol=1e-5)


@every_kind
def test_basis_passes_gradcheck_and_gradgradcheck_by_distance_and_parameters(kind: str) -> None:
    basis = radial_basis(kind, 3, CUTOFF).double()
    d = torch.tensor([0.7, 3.1], dtype=torch.float64, requires_grad=True)
    inputs = (d, *basis.parameters())
    assert gradcheck(lambda d, *_: basis(d), inputs)
    assert gradgradcheck(lambda d, *_: basis(d), inputs)


@every_kind
def test_basis_is_repeatable_and_tells_its_size_and_cutoff(kind: str) -> None:
    torch.manual_seed(0)
    a = radial_basis(kind, K, CUTOFF)
    torch.manual_seed(0)
    b = radial_basis(kind, K, CUTOFF)
    d = torch.linspace(0, 6, 20)
    assert torch.equal(a(d), b(d))
    assert a(d).shape == (20, K)
    assert a(d[:0]).shape == (0, K)
    assert f"{K}, cutoff={CUTOFF}" in repr(a)


def test_envelope_its_slope_and_curvature_vanish_at_the_cutoff_and_its_slope_at_zero() -> None:
    def slope(x: Tensor) -> Tensor:
        return torch.func.grad(polynomial_envelope)(x)

    x = torch.tensor([0.0, 1 - 1e-9, 1.0, 1.5], dtype=torch.float64)
    value, first, second = polynomial_envelope(x), torch.vmap(slope)(x), torch.vmap(torch.func.grad(slope))(x)
    assert value[0] == 1
    assert first[0] == 0
    for derivative in (value, first, second):
        assert torch.allclose(derivative[1:], torch.zeros(3, dtype=torch.float64), atol=1e-6)


def test_envelope_falls_from_one_to_zero() -> None:
    u = polynomial_envelope(torch.linspace(0, 1, 100, dtype=torch.float64))
    assert (u.diff() <= 0).all()
    assert u.min() >= -1e-12


@pytest.mark.parametrize(
    ("kind", "num_basis", "cutoff", "message"),
    [
        ("cosine", 8, 5.0, r"basis must be one of \('gaussian', 'exp', 'bessel'\), got 'cosine'"),
        ("exp", 0, 5.0, "num_basis must be at least 1, got 0"),
        ("exp", 8, 0.0, "cutoff must be a positive length in Å, got 0.0"),
        ("exp", 8, float("inf"), "cutoff must be a positive length"),
        ("exp", 8, float("nan"), "cutoff must be a positive length"),
    ],
)
def test_bad_settings_are_refused(kind: str, num_basis: int, cutoff: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        radial_basis(kind, num_basis, cutoff)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 12)])
def test_radial_network_is_linear_norm_silu_for_each_width_then_linear_plus_offset(hidden: tuple[int, ...]) -> None:
    mlp, x = RadialMLP(6, hidden, 10).double(), torch.randn(5, 6, dtype=torch.float64)
    y, layers = x, list(mlp.hidden)
    assert len(layers) == 3 * len(hidden)
    for linear, norm in zip(layers[::3], layers[1::3]):
        y = y @ linear.weight.T + linear.bias
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        y = torch.nn.functional.silu(y * norm.weight + norm.bias)
    assert torch.allclose(mlp(x), y @ mlp.out.weight.T + mlp.offset, rtol=1e-12)


def test_radial_network_gives_only_the_rows_asked_for() -> None:
    mlp, x, rows = RadialMLP(6, (8,), 10), torch.randn(5, 6), torch.tensor([7, 0, 3])
    assert torch.allclose(mlp(x, rows), mlp(x)[:, rows], atol=1e-6)


def test_radial_network_starts_with_zero_biases_and_an_offset_within_one_over_root_width() -> None:
    mlp = RadialMLP(6, (64, 64), 1000)
    for layer in mlp.hidden:
        if isinstance(layer, torch.nn.Linear | torch.nn.LayerNorm):
            assert not layer.bias.any()
    offset = mlp.offset.detach()
    assert offset.abs().max() <= 1 / 8
    assert offset.abs().max() > 0.9 / 8


def test_radial_network_reset_repeats_with_the_seed() -> None:
    mlp = RadialMLP(6, (8,), 10)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        mlp.reset_parameters()
        states.append(torch.cat([p.detach().flatten() for p in mlp.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
