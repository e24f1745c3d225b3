"""Random rotations, and what they do to features."""

import pytest
import torch
from e3nn.o3 import Irreps, spherical_harmonics
from hypothesis import given, settings
from torch import Tensor

from pyg_equiformer.testing import random_rotation, rotate

from ..strategies import DEVICES, any_irreps


def rotation(seed: int = 0) -> Tensor:
    return random_rotation(torch.Generator().manual_seed(seed))


def test_random_rotations_are_proper_and_repeat_with_the_generator() -> None:
    for seed in range(20):
        R = rotation(seed)
        assert torch.allclose(R @ R.T, torch.eye(3, dtype=torch.float64), atol=1e-14)
        assert float(torch.linalg.det(R)) == pytest.approx(1)
        assert torch.equal(R, rotation(seed))
    assert not torch.allclose(rotation(0), rotation(1))


def test_random_rotations_turn_a_vector_to_every_direction_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    turned = torch.stack([random_rotation(generator)[:, 0] for _ in range(3000)])
    assert turned.mean(0).abs().max() < 0.05
    assert torch.allclose(turned.T @ turned / 3000, torch.eye(3, dtype=torch.float64) / 3, atol=0.03)


@pytest.mark.parametrize("device", DEVICES)
def test_vectors_turn_by_the_matrix_itself(device: str) -> None:
    R, x = rotation().to(device), torch.randn(5, 7, dtype=torch.float64, device=device)
    expected = torch.cat([x[:, :1], x[:, 1:4] @ R.T, x[:, 4:] @ R.T], dim=1)
    assert torch.allclose(rotate("0e+2x1o", R, x), expected, rtol=0, atol=1e-13)


@given(any_irreps)
@settings(deadline=None, max_examples=20)
def test_turning_twice_is_turning_by_the_product(irreps: Irreps) -> None:
    x, R, S = torch.randn(2, 3, irreps.dim, dtype=torch.float64), rotation(1), -rotation(2)
    assert torch.allclose(rotate(irreps, S, rotate(irreps, R, x)), rotate(irreps, S @ R, x), rtol=0, atol=1e-12)
    assert torch.allclose(rotate(irreps, R.T, rotate(irreps, R, x)), x, rtol=0, atol=1e-12)
    assert torch.allclose(rotate(irreps, R, x).norm(dim=-1), x.norm(dim=-1))


def test_the_identity_changes_nothing_and_inversion_changes_the_sign_of_odd_irreps() -> None:
    x, eye = torch.randn(3, 18, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    assert torch.equal(rotate("0e+0o+1e+1o+2e+2o", eye, x), x)
    signs = torch.tensor([1.0, -1.0, *[1.0] * 3, *[-1.0] * 3, *[1.0] * 5, *[-1.0] * 5], dtype=torch.float64)
    assert torch.equal(rotate("0e+0o+1e+1o+2e+2o", -eye, x), signs * x)


def test_spherical_harmonics_turn_with_their_argument_to_1e_12() -> None:
    irreps, R = Irreps.spherical_harmonics(6), rotation()
    vec = torch.randn(10, 3, dtype=torch.float64)
    y, turned = (spherical_harmonics(irreps, v, normalize=True) for v in (vec, vec @ R.T))
    assert torch.allclose(turned, rotate(irreps, R, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_keep_their_precision_and_the_default_precision_stays(dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    assert rotate("1o", rotation(), torch.randn(2, 3, dtype=dtype)).dtype == dtype
    assert torch.get_default_dtype() == before


def test_what_is_not_a_rotation_or_has_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x must have 4 columns for irreps 1x0e\+1x1o, got shape \(2, 3\)"):
        rotate("0e+1o", rotation(), torch.zeros(2, 3))
    for matrix in (2 * torch.eye(3), torch.eye(2), torch.full((3, 3), torch.nan)):
        with pytest.raises(ValueError, match=r"rotation must be an orthogonal matrix \[3, 3\]"):
            rotate("1o", matrix, torch.zeros(2, 3))
