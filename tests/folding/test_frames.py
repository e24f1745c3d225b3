import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_equiformer.folding import (
    Frames,
    fit_frames,
    interpolate,
    matrix_to_quaternion,
    quaternion_to_matrix,
    random_frames,
)

from .samples import frames


def close(a, b, atol=1e-10):
    return torch.allclose(a, b, atol=atol, rtol=0)


def test_frames_are_undone_chained_and_indexed():
    a, b, points = frames(4), frames(4, seed=1), torch.randn(4, 5, 3, dtype=torch.float64)
    assert close(a.local(a.apply(points)), points)
    assert close(a.compose(b).apply(points), a.apply(b.apply(points)))
    assert close(a[1:3].apply(points[1:3]), a.apply(points)[1:3])


@given(st.integers(3, 7), st.integers(0, 99), st.booleans())
def test_a_moved_template_gives_back_its_frame_whatever_the_masked_atoms(atoms, seed, flat):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(2, atoms, 3, generator=generator, dtype=torch.float64)
    if flat or atoms == 3:
        shape[..., 2] = 0.0
    true = frames(2, seed)
    target, mask = true.apply(shape), torch.ones(2, atoms, dtype=torch.bool)
    if atoms > 3:
        target[:, -1], mask[:, -1] = float("nan"), False
    found = fit_frames(shape, target, mask)
    assert close(found.rotation, true.rotation, 1e-5)  # three atoms nearly on a line decide little
    assert close(found.apply(shape)[mask], target[mask], 1e-7)


def test_no_rotation_fits_noisy_atoms_better_than_the_one_found():
    torch.manual_seed(0)
    shape, target = torch.randn(1, 6, 3, dtype=torch.float64), torch.randn(1, 6, 3, dtype=torch.float64)
    found = fit_frames(shape, target, torch.ones(1, 6, dtype=torch.bool))
    best = (found.apply(shape) - target).square().sum()
    assert float(torch.linalg.det(found.rotation)) == pytest.approx(1.0)
    for k in range(200):
        turn = quaternion_to_matrix(torch.tensor([1.0, 0, 0, 0]).double() + 0.3 * torch.randn(4, dtype=torch.float64))
        other = Frames(found.rotation @ turn, found.origin + 0.05 * (k % 3) * torch.randn(3, dtype=torch.float64))
        assert (other.apply(shape) - target).square().sum() >= best - 1e-12


def test_quaternions_and_matrices_are_each_others_inverse_at_every_angle():
    quaternion = torch.randn(500, 4, dtype=torch.float64)
    quaternion[:4] = torch.eye(4, dtype=torch.float64)  # no turn and half turns
    quaternion = quaternion / quaternion.norm(dim=1, keepdim=True)
    quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
    matrix = quaternion_to_matrix(3 * quaternion)
    assert close(matrix @ matrix.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(500, 3, 3))
    assert close(torch.linalg.det(matrix), torch.ones(500, dtype=torch.float64))
    assert close(quaternion_to_matrix(matrix_to_quaternion(matrix)), matrix)
    assert close(matrix_to_quaternion(matrix), quaternion, 1e-7)
    with pytest.raises(ValueError, match=r"expected quaternions \[..., 4\], got shape \(3,\)"):
        quaternion_to_matrix(torch.zeros(3))


def test_the_way_between_frames_is_straight_and_turns_evenly():
    start, end = frames(6), frames(6, seed=1)
    for share, wanted in ((0.0, start), (1.0, end)):
        found = interpolate(start, end, share)
        assert close(found.rotation, wanted.rotation)
        assert close(found.origin, wanted.origin)
    quarter, half = interpolate(start, end, 0.25), interpolate(start, end, 0.5)
    step = start.rotation.transpose(1, 2) @ quarter.rotation
    assert close(start.rotation @ step @ step, half.rotation)
    assert close(start.rotation @ step @ step @ step @ step, end.rotation)
    share = torch.tensor([0.0, 1.0, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)
    each = interpolate(start, end, share)
    assert close(each.rotation[1], end.rotation[1])
    assert close(each.rotation[2:], half.rotation[2:])
    same = interpolate(start, start, 0.3)
    assert close(same.rotation, start.rotation)
    assert bool(same.rotation.isfinite().all())


def test_random_frames_are_uniform_rotations_and_repeat_with_their_seed():
    found = random_frames(20_000, 3.0, torch.Generator().manual_seed(0))
    assert float(found.origin.std()) == pytest.approx(3.0, rel=0.02)
    # The mean of R over SO(3) is zero, and that of each squared entry a third.
    assert float(found.rotation.mean(0).abs().max()) < 0.02
    assert float((found.rotation.square().mean(0) - 1 / 3).abs().max()) < 0.02
    again = random_frames(20_000, 3.0, torch.Generator().manual_seed(0))
    assert torch.equal(found.rotation, again.rotation)


def test_shapes_that_are_no_frames_are_refused():
    with pytest.raises(ValueError, match=r"expected rotations \[\.\.\., 3, 3\], got shape \(2, 4\)"):
        matrix_to_quaternion(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"expected quaternions \[\.\.\., 4\], got shape \(2, 3\)"):
        quaternion_to_matrix(torch.zeros(2, 3))
    points = torch.zeros(2, 4, 3)
    for template, mask in ((points[:, :3], points[..., 0] == 0), (points, torch.ones(2, 3, dtype=torch.bool))):
        with pytest.raises(
            ValueError, match=r"expected template and target \[\.\.\., A, 3\] and mask \[\.\.\., A\], got"
        ):
            fit_frames(template, points, mask)
