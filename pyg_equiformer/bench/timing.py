"""Times of forward and training step, with the repeats of all peers interleaved."""

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, TypeVar

import torch

from .peers import Peer
from .systems import System

Name = TypeVar("Name")

TASKS = ("forward", "step")
#: Weight of the forces in the loss, as published for MD17.
FORCE_WEIGHT = 80.0


def run_task(peer: Peer, system: System, task: str, forces: bool) -> None:
    """Do a task once.

    Args:
        peer: who does it.
        system: what it is done on.
        task: "forward", without a graph of gradients, or "step", the gradient of a loss by all weights: the L1 loss
            of energies, and of forces the mean norm of the error of an atom.
        forces: whether forces are part of it.

    Raises:
        ValueError: for a task that does not exist.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    peer.module.train(task == "step")
    if task == "forward":
        with torch.no_grad():
            peer.predict(system, forces)
        return
    energy, predicted = peer.predict(system, forces)
    loss = (energy - system.energy).abs().mean()
    if predicted is not None:
        loss = loss + FORCE_WEIGHT * (predicted - system.forces).norm(dim=1).mean()
    loss.backward()
    peer.module.zero_grad(set_to_none=True)


def seconds_of(function: Callable[[], Any], device: torch.device) -> float:
    """Return how long a function takes in s, work on the GPU included."""
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    jobs: Mapping[Name, Callable[[], Any]],
    repeats: int,
    device: torch.device,
    budget: float = float("inf"),
    progress: Callable[[int, Name], None] = lambda turn, name: None,
) -> dict[Name, dict[str, Any]]:
    """Time jobs in turn, A, B, A, B, …, so that whatever else the machine does meets all of them alike.

    Args:
        jobs: by name.
        repeats: timings of each, at least 1, after one that is told apart as warm-up.
        device: to wait for.
        budget: a job that took so long altogether, in s and without the warm-up, is not repeated any more; one
            timing is always made.
        progress: told before each timing which turn it belongs to, the warm-up being 0, and what is timed.

    Returns:
        by name {"warm_up": s, "seconds": [every timing], "median": s}, or {"error": why there is no timing}.

    Example:
        >>> sorted(interleaved({"sum": lambda: sum(range(9))}, 3, torch.device("cpu"))["sum"])
        ['median', 'seconds', 'warm_up']
    """
    results: dict[Name, dict[str, Any]] = {name: {"seconds": []} for name in jobs}
    spent = dict.fromkeys(jobs, 0.0)
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            result = results[name]
            if "error" in result or (turn > 1 and spent[name] > budget):
                continue
            progress(turn, name)
            gc.collect()
            try:
                elapsed = seconds_of(job, device)
            except (RuntimeError, MemoryError) as error:
                results[name] = {"error": _short(error)}
                continue
            if turn == 0:
                result["warm_up"] = elapsed
            else:
                result["seconds"].append(elapsed)
                spent[name] += elapsed
    for result in results.values():
        if "error" not in result:
            result["median"] = median(result["seconds"])
    return results


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
