"""Steps of molecular dynamics per second: energies and forces, with and without the search for neighbours."""

from functools import partial
from typing import Any

import torch

from pyg_equiformer.bench import Variant
from pyg_equiformer.bench.memory import reset_peak
from pyg_equiformer.bench.peers import Peer, Unavailable, build_peer
from pyg_equiformer.bench.systems import System, liquid
from pyg_equiformer.bench.timing import interleaved
from pyg_equiformer.bench.variants import OURS
from pyg_equiformer.models import preset_config
from pyg_equiformer.neighbors import radius_graph

from .correctness import require_default
from .pieces import FAILED, OutOfTime, Work
from .speed import engines_to_time, notes_of, variants_of

ATOMS = (21, 192, 1_000, 10_000)
PRESET = "small"
REPEATS = 20
#: In s: what took longer altogether is not repeated any more.
BUDGET = 8.0


def md(choice: str | None, work: Work) -> dict[str, Any]:
    """Time single steps of clouds as dense as water; between the steps the card is waited for, as integrators do.

    Args:
        choice: what is chosen for the network; None: all engines.
        work: the piece.
    """
    s = work.session
    require_default(s)
    notes: list[str] = []
    if choice is None:
        engines, left_out = engines_to_time(s)
        variants = [Variant(), *(Variant(engine=e) for e in engines if e != "torch")]
        notes = notes_of(left_out)
    else:
        variants = [Variant(), *variants_of(choice, s)]
    repeats, sizes = (1, ATOMS[:1]) if s.tiny else (REPEATS, ATOMS)
    peers = _build(variants, s.device, notes)
    facts: dict[str, Any] = {"preset": PRESET, "repeats": repeats, "notes": notes, "rows": []}
    for atoms in sizes:
        config = preset_config(PRESET)
        system = liquid(atoms, config).to(s.device)
        row: dict[str, Any] = {**system.facts(), "results": {}}
        facts["rows"].append(row)
        for peer in peers:
            try:
                work.clock.check(f"{atoms} atoms, {peer.label}")
            except OutOfTime as error:
                return {**facts, "state": FAILED, "error": str(error)}
            row["results"][peer.label] = _time(peer, system, config.cutoff, repeats, s.device)
            reset_peak(s.device)
            work.keep(facts)
    return facts


def _build(variants: list[Variant], device: torch.device, notes: list[str]) -> list[Peer]:
    """Build each network once: what it compiles serves all sizes."""
    config = preset_config(PRESET)
    system, peers = liquid(ATOMS[0], config).to(device), []
    for variant in variants:
        try:
            peers.append(build_peer(OURS, config, system, device, variant))
        except Unavailable as reason:
            notes.append(f"{variant.label} takes no part: {reason}")
    return peers


def _time(peer: Peer, system: System, cutoff: float, repeats: int, device: torch.device) -> dict[str, Any]:
    peer.module.eval()
    jobs = {
        "energy_and_forces": partial(_step, peer, system, None),
        "step": partial(_step, peer, system, cutoff),
    }
    out: dict[str, Any] = dict(interleaved(jobs, repeats, device, budget=BUDGET))
    for timing in out.values():
        if "error" not in timing:
            timing["per_second"] = 1 / timing["median"]
    return out


def _step(peer: Peer, system: System, cutoff: float | None) -> None:
    """Energies and forces; with a cutoff neighbours are found anew."""
    if cutoff is not None:
        edges = radius_graph(system.pos, cutoff, system.batch)
        system = System(system.z, system.pos, system.batch, edges, system.energy, system.forces)
    with torch.no_grad():
        peer.predict(system, True)
