import numpy as np
import pytest
import torch

from pyg_equiformer.training.losses import energy_loss, force_loss


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=7), rng.normal(size=7), rng.normal(size=(11, 3)), rng.normal(size=(11, 3))


def test_energy_losses_equal_numpy(arrays):
    a, b, _, _ = arrays
    predicted, target = torch.from_numpy(a), torch.from_numpy(b)
    assert energy_loss(predicted, target, "l1").item() == pytest.approx(np.abs(a - b).mean(), rel=1e-14)
    assert energy_loss(predicted, target, "mse").item() == pytest.approx(((a - b) ** 2).mean(), rel=1e-14)


def test_force_losses_equal_numpy(arrays):
    _, _, a, b = arrays
    predicted, target = torch.from_numpy(a), torch.from_numpy(b)
    expected = {
        "norm": np.linalg.norm(a - b, axis=1).mean(),
        "l1": np.abs(a - b).mean(),
        "mse": ((a - b) ** 2).mean(),
    }
    for kind, value in expected.items():
        assert force_loss(predicted, target, kind).item() == pytest.approx(value, rel=1e-14)


def test_norm_loss_does_not_depend_on_the_axes(arrays):
    _, _, a, b = arrays
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    predicted, target = torch.from_numpy(a), torch.from_numpy(b)
    rotated = force_loss(predicted @ rotation, target @ rotation)
    torch.testing.assert_close(rotated, force_loss(predicted, target), rtol=1e-13, atol=0)


def test_a_perfect_prediction_has_a_finite_gradient():
    forces = torch.ones(2, 3, requires_grad=True)
    force_loss(forces, torch.ones(2, 3)).backward()
    assert forces.grad.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy_loss(torch.zeros(2), torch.zeros(2, 1)), r"energies \[B\].*\[2\] and \[2, 1\]"),
        (lambda: force_loss(torch.zeros(2, 3), torch.zeros(3, 3)), r"forces \[N, 3\].*\[2, 3\] and \[3, 3\]"),
        (lambda: energy_loss(torch.zeros(2), torch.zeros(2), "huber"), "unknown energy loss 'huber'"),
        (lambda: force_loss(torch.zeros(2, 3), torch.zeros(2, 3), "l2"), "unknown force loss 'l2'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
