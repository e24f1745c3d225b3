import sys

import pytest
import torch

from pyg_equiformer.bench.memory import (
    available_memory,
    fitting_batch,
    forgets,
    measure_here,
    measure_memory,
    peak_memory,
    reset_peak,
)
from pyg_equiformer.bench.peers import Unavailable

CPU = torch.device("cpu")
SPEC = {
    "peer": "pyg_equiformer",
    "variant": {},
    "preset": "small",
    "molecules": 2,
    "task": "forward",
    "device": "cpu",
    "threads": 1,
}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
def test_the_peak_is_that_since_it_was_forgotten():
    if not forgets(CPU):
        pytest.skip("this system does not let a process forget its peak")
    size = 2**26
    big = torch.ones(4 * size // 4)
    del big
    before = reset_peak(CPU)
    small = torch.ones(size // 4)
    del small
    assert 0.9 * size < peak_memory(CPU) - before < 2 * size


@linux
def test_free_memory_is_told():
    assert available_memory(CPU) > 2**20


def test_a_step_needs_more_memory_than_a_forward():
    threads = torch.get_num_threads()
    try:
        used = [measure_here({**SPEC, "molecules": 6, "task": task})["bytes"] for task in ("forward", "step")]
    finally:
        torch.set_num_threads(threads)
    assert 0 < used[0] < used[1]


def test_a_batch_is_as_large_as_memory_allows(monkeypatch):
    found = {"bytes": 2**30}
    monkeypatch.setattr("pyg_equiformer.bench.memory.measure_memory", lambda spec: found)
    monkeypatch.setattr("pyg_equiformer.bench.memory.available_memory", lambda device: 5 * 2**30)
    assert fitting_batch({**SPEC, "molecules": 8}) == 3
    assert fitting_batch(SPEC) == 2
    monkeypatch.setattr("pyg_equiformer.bench.memory.available_memory", lambda device: None)
    assert fitting_batch({**SPEC, "molecules": 8}) == 8
    found = {"error": "out of memory"}
    with pytest.raises(Unavailable, match="one molecule: out of memory"):
        fitting_batch(SPEC)


def test_a_process_that_fails_says_why():
    assert "nonsense" in measure_memory({**SPEC, "device": "nonsense"})["error"]
