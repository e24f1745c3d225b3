"""The comparison: everybody builds, all are timed in turn, then memory, work and scaling."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from ..models import EquiformerConfig, preset_config
from .machine import describe_machine
from .memory import fitting_batch, measure_memory, reset_peak
from .peers import HUNGRY, Peer, Unavailable, build_peer, missing
from .scaling import measure_axis
from .settings import BenchSettings
from .systems import System, preset_system, workload
from .timing import FORCE_WEIGHT, TASKS, interleaved, run_task
from .variants import OURS, Variant, accepted
from .work import count_work, shares

Told = Callable[[str], None]

#: What is done, with and without forces.
TOLD = {
    False: {"forward": "energies", "step": "gradient of the L1 loss of the energies by all weights"},
    True: {
        "forward": "energies and forces",
        "step": f"gradient, by all weights, of the L1 loss of the energies plus {FORCE_WEIGHT:g} times the mean norm "
        "of the force error of an atom",
    },
}


def run(settings: BenchSettings | None = None, *, progress: Told = lambda text: None) -> dict[str, Any]:
    """Compare our own network with its peers: times of forward and training step, peak memory, work, scaling.

    Everything is timed in one process with its repeats in turn (A, B, A, B, …); memory is measured in processes of
    their own. Peers that lack the memory for the batch get fewer molecules, and our network is timed with as many as
    well.

    Args:
        settings: what is compared; None: everybody who is installed, on QM9.
        progress: told what is done next.

    Returns:
        plain values for JSON: "settings", "machine", "system", "tasks" (what forward and step are), "work" (of our
        network), "results" (for each peer and batch: sizes, "differences", and for each task "seconds", their
        "median", "warm_up", "molecules_per_second", "times_ours", "memory", "shares" of what the machine reaches),
        "left_out" (who takes no part, and why) and "scaling" (rows of `measure_axis`).

    Raises:
        ValueError: for a variant that our own network cannot have with these settings.

    Example:
        >>> result = run(BenchSettings("small", peers=(), molecules=1, repeats=1, threads=1, memory=False))
        >>> result["results"][0]["peer"], sorted(result["work"])
        ('pyg_equiformer', ['forward', 'step'])
    """
    s = settings if settings is not None else BenchSettings()
    before = torch.get_num_threads()
    assert s.threads is not None  # filled in
    torch.set_num_threads(s.threads)
    try:
        return _run(s, torch.device(s.device), progress)
    finally:
        torch.set_num_threads(before)


@dataclass
class _Entry:
    """A peer with the molecules that it is timed on."""

    name: str
    variant: Variant | None
    peer: Peer
    system: System

    def facts(self) -> dict[str, Any]:
        return {
            "peer": self.peer.label,
            "name": self.name,
            "variant": None if self.variant is None else asdict(self.variant),
            **self.system.facts(),
            "weights": self.peer.weights,
            "differences": list(self.peer.differences),
        }


def _run(s: BenchSettings, device: torch.device, progress: Told) -> dict[str, Any]:
    config, forces = preset_config(s.preset), workload(s.preset).forces
    system = preset_system(s.preset, config, s.molecules).to(device)
    progress("building the networks")
    entries, left_out = _entries(s, config, system, device)
    progress("measuring what the machine reaches")
    result: dict[str, Any] = {
        "settings": json.loads(json.dumps(asdict(s))),  # lists for tuples
        "machine": describe_machine(device),
        "system": system.facts(),
        "tasks": TOLD[forces],
        "left_out": left_out,
    }
    result["results"] = rows = _times(entries, s.repeats, forces, device, progress)
    del entries  # makes room for what follows
    reset_peak(device)
    if s.memory:
        _add_memory(rows, s, progress)
    progress("counting the work")
    result["work"] = work = _work(config, system, forces, device) if "error" not in rows[0]["step"] else {}
    for row in rows:
        if row["name"] == OURS and row["molecules"] == s.molecules:
            for task in work:
                if "error" not in row[task]:
                    row[task]["shares"] = shares(work[task], row[task]["median"], result["machine"])
    names: list[tuple[str, Variant | None]] = [(OURS, variant) for variant in s.variants]
    names += [(name, None) for name in s.peers or () if missing(name) is None]
    result["scaling"] = {
        axis: measure_axis(axis, s.preset, names, repeats=s.repeats, device=device, progress=progress)
        for axis in s.scaling
    }
    return result


def _entries(
    s: BenchSettings, config: EquiformerConfig, system: System, device: torch.device
) -> tuple[list[_Entry], dict[str, str]]:
    """Build everybody; return those who take part, our own network first, and why the others do not."""
    ours: list[_Entry] = []
    left_out: dict[str, str] = {}
    for variant in s.variants:
        try:
            ours.append(_Entry(OURS, variant, build_peer(OURS, config, system, device, variant), system))
        except Unavailable as error:
            left_out[variant.label] = str(error)
    if not ours:
        raise ValueError(f"no variant of our own network can take part: {left_out}")
    others: list[_Entry] = []
    for name in s.peers or ():
        try:
            hungry = name in HUNGRY and missing(name) is None
            few = system.first(fitting_batch(_spec(s, name))) if hungry else system
            others.append(_Entry(name, None, build_peer(name, config, few, device), few))
        except Unavailable as error:
            left_out[name] = str(error)
    # What takes part with fewer molecules is compared with ours on as many.
    smaller = {e.system.molecules: e.system for e in others if e.system.molecules < system.molecules}
    first = ours[0]
    return [*ours, *(_Entry(OURS, first.variant, first.peer, few) for few in smaller.values()), *others], left_out


def _times(
    entries: list[_Entry], repeats: int, forces: bool, device: torch.device, progress: Told
) -> list[dict[str, Any]]:
    jobs = {
        (index, task): partial(run_task, e.peer, e.system, task, forces)
        for task in TASKS
        for index, e in enumerate(entries)
    }

    def told(turn: int, key: tuple[int, str]) -> None:
        where = f"turn {turn} of {repeats}" if turn else "warm-up"
        progress(f"{where}: {entries[key[0]].peer.label}, {key[1]}")

    rows = [e.facts() for e in entries]
    for (index, task), timing in interleaved(jobs, repeats, device, progress=told).items():
        rows[index][task] = timing
    ours: dict[int, dict[str, Any]] = {}
    for row in rows:
        base = ours.setdefault(row["molecules"], row)  # our own network comes first
        for task in TASKS:
            if "error" in row[task]:
                continue
            row[task]["molecules_per_second"] = row["molecules"] / row[task]["median"]
            if "error" not in base[task]:
                row[task]["times_ours"] = row[task]["median"] / base[task]["median"]
    return rows


def _spec(s: BenchSettings, name: str) -> dict[str, Any]:
    """What a process of its own is told to do, but for the task."""
    shared = {"preset": s.preset, "molecules": s.molecules, "device": s.device, "threads": s.threads}
    return {"peer": name, "variant": None, **shared}


def _add_memory(rows: list[dict[str, Any]], s: BenchSettings, progress: Told) -> None:
    for row in rows:
        for task in TASKS:
            if "error" not in row[task]:
                progress(f"memory: {row['peer']}, {task}")
                own = {"variant": row["variant"], "molecules": row["molecules"], "task": task}
                row[task]["memory"] = measure_memory({**_spec(s, row["name"]), **own})


def _work(config: EquiformerConfig, system: System, forces: bool, device: torch.device) -> dict[str, dict[str, Any]]:
    """Count what the default way of running does; what is computed a second time to save memory is no work."""
    variant = Variant(engine="torch") if "engine" in accepted() else Variant()
    peer = build_peer(OURS, config, system, device, variant)
    return {task: count_work(partial(run_task, peer, system, task, forces)) for task in TASKS}
