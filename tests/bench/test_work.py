import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pyg_equiformer.bench.peers import build_peer
from pyg_equiformer.bench.systems import make_system
from pyg_equiformer.bench.timing import run_task
from pyg_equiformer.bench.work import WorkCounter, count_work, shares
from pyg_equiformer.models import preset_config


@pytest.mark.parametrize("task", ["forward", "step"])
def test_arithmetic_is_what_pytorch_counts(task):
    system = make_system(2, 4, 1.5, (1, 8), cutoff=5.0)
    peer = build_peer("pyg_equiformer", preset_config("small", num_layers=1), system, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        run_task(peer, system, task, False)
    assert count_work(lambda: run_task(peer, system, task, False))["flops"]["value"] == counter.get_total_flops() > 0


def test_forces_need_more_arithmetic_than_energies_and_a_step_more_than_a_forward():
    system = make_system(2, 4, 1.5, (1, 8), cutoff=5.0)
    peer = build_peer("pyg_equiformer", preset_config("small", num_layers=1), system, torch.device("cpu"))
    found = {
        (task, forces): count_work(lambda task=task, forces=forces: run_task(peer, system, task, forces))
        for task in ("forward", "step")
        for forces in (False, True)
    }
    for kind in ("flops", "bytes"):
        value = {key: work[kind]["value"] for key, work in found.items()}
        assert value["forward", False] < value["forward", True] < value["step", True]
        assert value["forward", False] < value["step", False] < value["step", True]


def test_bytes_are_those_of_inputs_and_outputs_and_views_move_none():
    a = torch.zeros(8, 4)
    with WorkCounter() as counter:
        a.view(32)[:10].unsqueeze(0).expand(5, 10)
    assert counter.bytes == 0
    with WorkCounter() as counter:
        a + a
    assert counter.bytes == 3 * 32 * 4
    with WorkCounter() as counter:
        a.add_(1)
    assert counter.bytes == 2 * 32 * 4


def test_an_expanded_tensor_counts_as_the_memory_it_has():
    with WorkCounter() as counter:
        torch.zeros(1).expand(100).sum()
    assert counter.bytes <= 3 * 4  # made, read, written


def test_shares_are_work_per_time_over_what_the_machine_reaches():
    work = {"flops": {"value": 6e9}, "bytes": {"value": 1e9}}
    machine = {"matrix_product": {"value": 100.0}, "copy": {"value": 10.0}}
    assert shares(work, 0.5, machine) == pytest.approx({"matrix_product": 0.12, "copy": 0.2})
