import math

import pytest

from pyg_equiformer.training.schedule import warmup_cosine


def test_rises_linearly_then_falls_as_half_a_cosine():
    rate = [warmup_cosine(p / 100, warmup=0.2, floor=0.1) for p in range(101)]
    assert rate[0] == 0
    assert rate[5] == pytest.approx(0.25)
    assert rate[20] == pytest.approx(1.0)
    assert rate[40] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert rate[60] == pytest.approx(0.55)
    assert rate[100] == pytest.approx(0.1)
    assert rate[:21] == sorted(rate[:21])
    assert rate[20:] == sorted(rate[20:], reverse=True)


def test_stays_at_the_floor_after_the_end():
    assert warmup_cosine(1.5, warmup=0.0, floor=0.3) == pytest.approx(0.3)


def test_without_warmup_starts_at_the_top():
    assert warmup_cosine(0.0, warmup=0.0) == 1.0


@pytest.mark.parametrize("bad", [{"progress": -0.1}, {"warmup": 1.0}, {"floor": 2.0}])
def test_values_outside_their_range_are_errors(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        warmup_cosine(**{"progress": 0.5, **bad})
