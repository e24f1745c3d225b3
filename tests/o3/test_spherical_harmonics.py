"""Spherical harmonics against e3nn, under rotation, and at every place where they could break."""

import itertools
import math

import e3nn.o3
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyg_equiformer.o3 import SphericalHarmonics, check_irreps_sh, unit_and_length
from pyg_equiformer.testing import random_rotation, rotate

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
UP_TO_SIX = "0e+1o+2e+3o+4e+5o+6e"
#: All directions with components -1, 0, 1: the axes (e3nn's pole y among them), face and body diagonals.
DIRECTIONS = torch.tensor([v for v in itertools.product((-1, 0, 1), repeat=3) if any(v)], dtype=torch.float64)

every_device = pytest.mark.parametrize("device", DEVICES)
every_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def e3nn_harmonics(irreps: str, vec: Tensor) -> Tensor:
    return e3nn.o3.spherical_harmonics(e3nn.o3.Irreps(irreps), vec, normalize=True, normalization="component")


def vectors(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_device
@pytest.mark.parametrize("l", range(7))
def test_equal_e3nn_to_1e_12_in_float64(l: int, device: str) -> None:
    irreps = f"1x{l}{'eo'[l % 2]}"
    vec = vectors(200, seed=l).to(device)
    mine = SphericalHarmonics(irreps).double().to(device)(vec)
    assert torch.allclose(mine, e3nn_harmonics(irreps, vec), rtol=0, atol=1e-12)


@every_device
def test_equal_e3nn_in_float32(device: str) -> None:
    vec = vectors(200).float().to(device)
    mine = SphericalHarmonics(UP_TO_SIX).to(device)(vec)
    assert mine.dtype == torch.float32
    assert torch.allclose(mine.double(), e3nn_harmonics(UP_TO_SIX, vec.double()), rtol=0, atol=2e-5)


@pytest.mark.parametrize("irreps", [UP_TO_SIX, "0e+1e+2e+3e", "0o+1e+2o"])
def test_turn_with_their_argument_by_wigner_d(irreps: str) -> None:
    harmonics, vec = SphericalHarmonics(irreps).double(), vectors(20)
    R = random_rotation(torch.Generator().manual_seed(1))
    assert torch.allclose(harmonics(vec @ R.T), rotate(irreps, R, harmonics(vec)), rtol=0, atol=1e-11)


def test_change_sign_under_inversion_by_degree() -> None:
    harmonics, vec = SphericalHarmonics(UP_TO_SIX).double(), vectors(20)
    inversion = -torch.eye(3, dtype=torch.float64)
    assert torch.allclose(harmonics(-vec), rotate(UP_TO_SIX, inversion, harmonics(vec)), rtol=0, atol=1e-12)


def test_squares_of_each_degree_sum_to_2l_plus_1() -> None:
    irreps = e3nn.o3.Irreps(UP_TO_SIX)
    y = SphericalHarmonics(irreps).double()(torch.cat([vectors(50), DIRECTIONS]))
    for (_, ir), s in zip(irreps, irreps.slices()):
        assert torch.allclose(y[:, s].square().sum(1), torch.full_like(y[:, 0], ir.dim), rtol=1e-13)


def test_degree_one_is_the_unit_vector_in_the_order_x_y_z_times_root_three() -> None:
    vec = vectors(10)
    y = SphericalHarmonics("1o").double()(vec)
    assert torch.allclose(y, math.sqrt(3) * vec / vec.norm(dim=1, keepdim=True), rtol=0, atol=1e-14)


def test_come_in_the_order_of_the_irreps_and_parity_is_a_label() -> None:
    vec = vectors(10)
    y = dict(zip("0123", SphericalHarmonics("0e+1o+2e+3o").double()(vec).split([1, 3, 5, 7], dim=1)))
    out = SphericalHarmonics("3e+0o+2e+1e").double()(vec)
    assert torch.equal(out, torch.cat([y["3"], y["0"], y["2"], y["1"]], dim=1))


@every_device
@every_precision
def test_are_right_with_finite_derivatives_along_every_axis_and_diagonal(dtype: torch.dtype, device: str) -> None:
    vec = DIRECTIONS.to(device, dtype).requires_grad_()
    y = SphericalHarmonics(UP_TO_SIX).to(device, dtype)(vec)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert torch.allclose(y.double(), e3nn_harmonics(UP_TO_SIX, vec.double()), rtol=0, atol=tolerance)
    (first,) = torch.autograd.grad(y.sin().sum(), vec, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), vec)
    assert first.isfinite().all()
    assert second.isfinite().all()


@every_device
@every_precision
def test_zero_vector_has_zero_harmonics_above_degree_zero_and_passes_no_gradient(
    dtype: torch.dtype, device: str
) -> None:
    vec = torch.zeros(2, 3, dtype=dtype, device=device)
    vec[1, 0] = 1
    vec.requires_grad_()
    y = SphericalHarmonics(UP_TO_SIX).to(device, dtype)(vec)
    assert torch.equal(y[0], torch.eye(49, dtype=dtype, device=device)[0])
    (first,) = torch.autograd.grad(y.sin().sum(), vec, create_graph=True)
    assert torch.equal(first[0], torch.zeros_like(first[0]))
    (second,) = torch.autograd.grad(first.square().sum() + first.sum(), vec)
    assert second.isfinite().all()
    assert torch.equal(second[0], torch.zeros_like(second[0]))


def test_first_and_second_derivatives_pass_gradcheck() -> None:
    harmonics = SphericalHarmonics("0e+1o+2e+3o+4e").double()
    vec = vectors(3).requires_grad_()
    assert gradcheck(harmonics, vec)
    assert gradgradcheck(harmonics, vec)


@every_precision
@pytest.mark.parametrize("exponent", [-30, -10, 10, 30])
def test_do_not_depend_on_length_for_tiny_and_huge_vectors(dtype: torch.dtype, exponent: int) -> None:
    harmonics = SphericalHarmonics(UP_TO_SIX).to(dtype)
    vec = vectors(20).to(dtype)
    scaled = (vec * 10.0**exponent).requires_grad_()
    y = harmonics(scaled)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert torch.allclose(y, harmonics(vec), rtol=0, atol=tolerance)
    (gradient,) = torch.autograd.grad(y.sum(), scaled)
    assert gradient.isfinite().all()


def test_gradient_has_no_part_along_the_vector() -> None:
    vec = vectors(20).requires_grad_()
    y = SphericalHarmonics(UP_TO_SIX).double()(vec)
    (gradient,) = torch.autograd.grad(y.sum(), vec)
    assert torch.allclose((gradient * vec).sum(1), torch.zeros(20, dtype=torch.float64), atol=1e-12)


def test_a_float32_module_turned_to_float64_is_exact() -> None:
    harmonics, vec = SphericalHarmonics(UP_TO_SIX).float(), vectors(50)
    assert torch.allclose(harmonics.double()(vec), e3nn_harmonics(UP_TO_SIX, vec), rtol=0, atol=1e-12)


def test_stay_in_the_precision_of_the_positions_under_autocast() -> None:
    harmonics, vec = SphericalHarmonics("0e+1o+2e+3o"), vectors(5).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = harmonics(vec)
    assert y.dtype == torch.float32
    assert torch.equal(y, harmonics(vec))


def test_no_vectors_give_no_rows() -> None:
    assert SphericalHarmonics("0e+1o+2e")(torch.zeros(0, 3)).shape == (0, 9)


@pytest.mark.parametrize("irreps", ["2x0e", "1x0e+1x1o+1x1o", "0e+4x1o"])
def test_irreps_that_are_not_each_once_are_refused(irreps: str) -> None:
    with pytest.raises(ValueError, match="irreps_sh must hold each irrep once"):
        check_irreps_sh(irreps)


def test_length_and_direction_are_those_of_the_vector_with_its_derivative() -> None:
    vec = torch.cat([vectors(10), torch.zeros(1, 3, dtype=torch.float64)]).requires_grad_()
    unit, length = unit_and_length(vec)
    assert torch.allclose(length, vec.detach().norm(dim=1), rtol=1e-14)
    assert torch.allclose(unit * length.unsqueeze(1), vec, rtol=1e-14)
    (gradient,) = torch.autograd.grad(length.sum(), vec)
    assert torch.allclose(gradient, unit, atol=1e-14)
    assert torch.equal(gradient[-1], torch.zeros(3, dtype=torch.float64))


def test_length_passes_gradcheck_and_gradgradcheck() -> None:
    vec = vectors(3).requires_grad_()
    assert gradcheck(unit_and_length, vec)
    assert gradgradcheck(unit_and_length, vec)
