import pytest
import torch

from pyg_equiformer.bench.peers import build_peer
from pyg_equiformer.bench.systems import make_system
from pyg_equiformer.bench.timing import interleaved, run_task
from pyg_equiformer.models import preset_config

CPU = torch.device("cpu")


def test_repeats_of_all_jobs_are_interleaved():
    order: list[str] = []
    jobs = {name: (lambda name=name: order.append(name)) for name in "AB"}
    results = interleaved(jobs, 2, CPU)
    assert "".join(order) == "ABABAB"
    for result in results.values():
        assert len(result["seconds"]) == 2
        assert result["median"] == pytest.approx(sum(result["seconds"]) / 2)


def test_a_job_that_fails_is_told_and_the_others_go_on():
    def fails():
        raise RuntimeError("out of memory\nat some place")

    results = interleaved({"bad": fails, "good": lambda: None}, 3, CPU)
    assert results["bad"] == {"error": "RuntimeError: out of memory"}
    assert len(results["good"]["seconds"]) == 3


def test_a_job_over_its_budget_is_timed_once():
    assert len(interleaved({"slow": lambda: None}, 4, CPU, budget=0.0)["slow"]["seconds"]) == 1


def test_a_mistake_in_a_job_is_not_taken_for_a_result():
    with pytest.raises(ZeroDivisionError):
        interleaved({"wrong": lambda: 1 / 0}, 1, CPU)


@pytest.mark.parametrize("forces", [False, True])
def test_a_step_computes_the_gradient_of_all_weights_and_leaves_none_behind(forces):
    config = preset_config("small", num_layers=1)
    system = make_system(2, 4, 1.5, (1, 8), cutoff=5.0)
    peer = build_peer("pyg_equiformer", config, system, CPU)
    seen = set()
    for name, weight in peer.module.named_parameters():
        weight.register_post_accumulate_grad_hook(lambda _, name=name: seen.add(name))
    run_task(peer, system, "step", forces)
    assert len(seen) > 0.8 * len(list(peer.module.parameters()))
    assert all(weight.grad is None for weight in peer.module.parameters())
    assert peer.module.training
    seen.clear()
    run_task(peer, system, "forward", forces)
    assert not seen
    assert not peer.module.training


def test_unknown_tasks_are_told():
    with pytest.raises(ValueError, match="task must be one of forward, step"):
        run_task(None, None, "backward", False)
