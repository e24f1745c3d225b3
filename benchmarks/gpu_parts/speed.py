"""Times of our own network and its peers: presets, choices of ours, and growth along the axes."""

from dataclasses import replace
from typing import Any

from pyg_equiformer.bench import BenchSettings, Variant, run
from pyg_equiformer.bench.machine import cores
from pyg_equiformer.bench.memory import measure_memory
from pyg_equiformer.bench.peers import PEERS, missing
from pyg_equiformer.bench.scaling import LONGEST, VALUES, measure_axis
from pyg_equiformer.bench.timing import TASKS
from pyg_equiformer.bench.variants import OURS
from pyg_equiformer.kernels import ENGINES

from .choices import values_of
from .correctness import failing, require_default
from .pieces import LeftOut, Session, Work

#: The values with which an axis is tried.
TINY_VALUES = {"atoms": (10, 30), "degree": (4,), "lmax": (1,), "channels": (16,)}
#: In s: memory is measured while so much is left, as each process has to load and perhaps compile.
FOR_MEMORY = 120.0


def engines_to_time(session: Session) -> tuple[list[str], dict[str, str]]:
    """Return the engines that are correct and serve here, and why the others are left out."""
    reasons = {engine: failing(session, engine) for engine in ENGINES if engine != "auto"}
    return (
        [engine for engine, reason in reasons.items() if reason is None],
        {engine: reason for engine, reason in reasons.items() if reason is not None},
    )


def compare(preset: str, molecules: int | None, work: Work) -> dict[str, Any]:
    """Time forward and training step of all engines and all peers."""
    s = work.session
    require_default(s)
    engines, left_out = engines_to_time(s)
    # An engine that is a package of its own takes part as a peer.
    variants = (Variant(), *(Variant(engine=e) for e in engines if e not in (*PEERS, "torch")))
    peers = tuple(name for name in PEERS if name != OURS and name not in left_out)
    return {"notes": notes_of(left_out), **_run(preset, molecules, variants, peers, work)}


def compare_choice(preset: str, molecules: int | None, choice: str, work: Work) -> dict[str, Any]:
    """Time our own network with each value of a choice, beside the default."""
    return _run(preset, molecules, (Variant(), *variants_of(choice, work.session)), (), work)


def variants_of(choice: str, session: Session) -> list[Variant]:
    """Return our own network with each value of a choice.

    Raises:
        LeftOut: if that, or the default, is not known to be correct.
    """
    require_default(session)
    reason = failing(session, choice)
    if reason is not None:
        raise LeftOut(reason)
    return [Variant(**{choice: value}) for value in values_of(choice)]


def _run(
    preset: str, molecules: int | None, variants: tuple[Variant, ...], peers: tuple[str, ...], work: Work
) -> dict[str, Any]:
    settings = BenchSettings(
        preset, peers=peers, variants=variants, molecules=molecules, device=work.session.device.type, memory=False
    )
    if work.session.tiny:
        few = tuple(name for name in peers if name == "e3nn")
        settings = replace(settings, preset="small", peers=few, molecules=2, repeats=1, threads=1)
    result = run(settings, progress=work.clock.check)
    if work.session.tiny:
        return {"bench": result}
    work.keep({"bench": result})
    _add_memory(result, work)
    return {"bench": result}


def _add_memory(result: dict[str, Any], work: Work) -> None:
    """Measure peak memory in processes of their own, while there is time."""
    settings = result["settings"]
    settings["memory"] = True
    shared = {name: settings[name] for name in ("preset", "device", "threads")}
    for row in result["results"]:
        for task in TASKS:
            if "error" in row[task]:
                continue
            if work.clock.left < FOR_MEMORY:
                row[task]["memory"] = {"error": "not measured, the time was over; give more --minutes"}
                continue
            spec = {"peer": row["name"], "variant": row["variant"], "molecules": row["molecules"], "task": task}
            row[task]["memory"] = measure_memory({**shared, **spec})
            work.keep({"bench": result})


def follow(axis: str, work: Work) -> dict[str, Any]:
    """Time everybody along an axis, point by point while there is time."""
    s = work.session
    require_default(s)
    engines, left_out = engines_to_time(s)
    ours = [Variant(), *(Variant(engine=e) for e in engines if e not in (*PEERS, "torch", "reference"))]
    peers = [name for name in PEERS if name != OURS and name not in left_out and missing(name) is None]
    if s.tiny:
        peers = [name for name in peers if name == "e3nn"]
    names: list[tuple[str, Variant | None]] = [*((OURS, variant) for variant in ours), *((p, None) for p in peers)]
    preset, repeats = ("small", 1) if s.tiny else ("qm9", 3)
    facts: dict[str, Any] = {"axis": axis, "preset": preset, "repeats": repeats, "threads": cores(), "rows": []}
    facts["notes"] = notes_of(left_out)
    values = TINY_VALUES[axis] if s.tiny else VALUES[axis]
    # What does not fit on a card fails there without harm; on a processor `measure_axis` guards the memory as it goes.
    for part in [[value] for value in values] if s.device.type == "cuda" else [values]:
        # A point may take as long as all before it together.
        if facts["rows"] and work.clock.spent > work.clock.limit / 2:
            facts["notes"].append(f"{axis}: ends before {part[0]:,}, there was no more time; give more --minutes")
            break
        told: dict[str, Any] = {"repeats": repeats, "device": s.device, "values": part, "progress": work.clock.check}
        facts["rows"] += measure_axis(axis, preset, names, **told)
        last = facts["rows"][-1]["peers"]
        names = [(name, variant) for name, variant in names if _goes_on(last.get(_label(name, variant), {}))]
        work.keep(facts)
    return facts


def notes_of(left_out: dict[str, str]) -> list[str]:
    """Return who takes no part, and why, in words."""
    return [f"{name} takes no part: {reason}" for name, reason in left_out.items()]


def _label(name: str, variant: Variant | None) -> str:
    return name if variant is None else variant.label


def _goes_on(entry: dict[str, Any]) -> bool:
    if "stopped" in entry:
        return False
    return all(timing["median"] <= LONGEST for task, timing in entry.items() if task in TASKS)
