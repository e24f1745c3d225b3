import pytest
import torch

from pyg_equiformer.training.averaging import EMAWeights, _updater, ema_decay


def test_the_average_follows_its_recursion():
    update = _updater(0.9)
    averaged, current = (
        torch.zeros(3, dtype=torch.float64),
        torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
    )
    expected = averaged.clone()
    for step in range(100):
        gamma = min(0.9, (1 + step) / (10 + step))
        expected = gamma * expected + (1 - gamma) * (current + step)
        update([averaged], [current + step], torch.tensor(step))
    torch.testing.assert_close(averaged, expected, rtol=1e-13, atol=0)


def test_decay_zero_keeps_the_latest_weights():
    averaged = torch.zeros(2)
    _updater(0.0)([averaged], [torch.ones(2)], 5)
    assert averaged.tolist() == [1.0, 1.0]


def test_memory_is_short_at_first():
    assert ema_decay(0.999, 0) == pytest.approx(0.1)
    assert ema_decay(0.999, 10**6) == 0.999


def test_a_decay_outside_its_range_is_an_error():
    with pytest.raises(ValueError, match="below 1, got 1"):
        EMAWeights(1.0)


def test_there_is_no_average_before_the_training():
    with pytest.raises(ValueError, match="before the training has started"):
        _ = EMAWeights(0.9).averaged
