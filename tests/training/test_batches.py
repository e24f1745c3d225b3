import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from pyg_equiformer.training.batches import BatchPlan, BatchStream, check_sizes, pack


def numbered(count):
    return [Data(pos=torch.zeros(1, 3), number=torch.tensor([i])) for i in range(count)]


def numbers(stream, count):
    found = []
    for batch in stream:
        found.append(batch.number.tolist())
        if len(found) == count:
            return found
    return found


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(1, 6), st.integers(20, 60))
def test_batches_hold_every_structure_once_within_both_limits(sizes, batch_size, limit):
    sizes = np.array(sizes)
    batches = pack(range(len(sizes)), batch_size, sizes, limit)
    assert [i for batch in batches for i in batch] == list(range(len(sizes)))
    assert all(0 < len(batch) <= batch_size and sizes[batch].sum() <= limit for batch in batches)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_the_devices_share_the_batches_of_one_device(count, batch_size, devices, epoch):
    one = BatchPlan(count, batch_size, seed=3).batches(epoch)
    shares = [BatchPlan(count, batch_size, seed=3, rank=r, devices=devices).batches(epoch) for r in range(devices)]
    assert len({len(share) for share in shares}) == 1
    dealt = [share[i] for i in range(len(shares[0])) for share in shares]
    assert dealt[: len(one)] == one
    assert all(batch in one for batch in dealt)
    assert len(dealt) - len(one) < devices


def test_every_pass_has_its_own_order_that_the_seed_repeats():
    plan = BatchPlan(20, 20, seed=1)
    assert plan.batches(0) != plan.batches(1)
    assert plan.batches(1) == BatchPlan(20, 20, seed=1).batches(1)
    assert plan.batches(0) != BatchPlan(20, 20, seed=2).batches(0)
    assert sorted(plan.batches(5)[0]) == list(range(20))


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_stream_goes_on_at_any_batch_as_if_it_was_never_left(stop):
    def stream():
        return BatchStream(numbered(7), BatchPlan(7, 2, seed=0), length=12)

    whole = numbers(stream(), 12)
    left = stream()
    first = numbers(left, stop)
    later = stream()
    later.load_state_dict(left.state_dict())
    assert first + numbers(later, 12 - stop) == whole


def test_a_stream_with_a_limit_on_edges_goes_on_over_passes_of_different_length():
    sizes = np.array([5, 1, 4, 2, 3, 3, 5])

    def stream():
        return BatchStream(numbered(7), BatchPlan(7, 4, seed=0, sizes=sizes, max_edges=6), length=30)

    whole = numbers(stream(), 30)
    assert len({len(BatchPlan(7, 4, seed=0, sizes=sizes, max_edges=6).batches(e)) for e in range(6)}) > 1
    for stop in (1, 5, 11, 23):
        left = stream()
        numbers(left, stop)
        later = stream()
        later.load_state_dict(left.state_dict())
        assert numbers(later, 30 - stop) == whole[stop:]


def test_workers_change_nothing():
    plan = BatchPlan(9, 2, seed=0)
    alone = numbers(BatchStream(numbered(9), plan, length=7), 7)
    helped = numbers(BatchStream(numbered(9), plan, length=7, workers=2), 7)
    assert alone == helped


def test_the_length_is_that_of_the_run():
    plan = BatchPlan(9, 2)
    assert len(BatchStream(numbered(9), plan, length=12)) == 12
    assert len(BatchStream(numbered(9), plan, length=None)) == BatchStream.ENDLESS


def test_a_structure_that_is_too_large_for_a_batch_is_named():
    check_sizes(np.array([3, 9, 4]), 9)
    check_sizes(np.array([3, 9, 4]), None)
    with pytest.raises(ValueError, match="expected at least the 9 edges of structure 1 of the training set, got 8"):
        check_sizes(np.array([3, 9, 4]), 8)


def test_no_structures_are_an_error():
    with pytest.raises(ValueError, match="at least one structure"):
        BatchPlan(0, 2)
