"""How times grow with atoms, neighbours, degree of the irreps and channels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..models import EquiformerConfig, preset_config
from ..neighbors import radius_graph
from .memory import MEMORY_SHARE, available_memory, forgets, peak_memory, reset_peak
from .peers import Peer, Unavailable, build_peer
from .systems import System, liquid
from .timing import interleaved, run_task, seconds_of, synchronize
from .variants import Variant

AXES = ("atoms", "degree", "lmax", "channels")
VALUES: dict[str, tuple[int, ...]] = {
    "atoms": (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000),
    "degree": (4, 8, 16, 32, 64),
    "lmax": (1, 2, 3, 4, 5, 6),
    "channels": (16, 32, 64, 128, 256),
}
#: Atoms and layers of the networks along the axes other than atoms.
ATOMS, LAYERS = 100, 2
DEGREE = 16
#: A peer goes no further after a point that took longer than this, in s, or would need too much memory.
LONGEST = 20.0


@dataclass(frozen=True)
class Point:
    """One value along an axis: the network, and what it is computed on.

    Attributes:
        size: what memory is taken to grow with, a guess from point to point, so that no peer takes down the machine.
    """

    value: int
    size: float
    config: EquiformerConfig
    system: Callable[[], System]
    tasks: tuple[str, ...]


def check_axes(text: str | Sequence[str]) -> list[str]:
    """Return the names of axes in a list or a text with commas; "all" is all of them.

    Raises:
        ValueError: for a name that is not known, listing those that are.

    Example:
        >>> check_axes("atoms,lmax"), check_axes("")
        (['atoms', 'lmax'], [])
    """
    names = text.split(",") if isinstance(text, str) else list(text)
    names = [name.strip() for name in names if name.strip()]
    if names == ["all"]:
        return list(AXES)
    for name in names:
        if name not in AXES:
            raise ValueError(f"--scaling: there is no axis {name!r}, expected all or some of {', '.join(AXES)}")
    return list(dict.fromkeys(names))


def config_of(preset: str, channels: int, lmax: int) -> EquiformerConfig:
    """Return a preset's configuration with other irreps: half of the scalars' channels for vectors, a quarter above.

    Example:
        >>> config_of("qm9", 64, 3).irreps
        '64x0e+32x1e+16x2e+16x3e'
    """

    def irreps(scalars: int) -> str:
        return "+".join(f"{max(1, scalars // 2 ** min(l, 2))}x{l}e" for l in range(lmax + 1))

    return preset_config(
        preset,
        irreps=irreps(channels),
        irreps_sh="+".join(f"1x{l}e" for l in range(lmax + 1)),
        irreps_head=irreps(max(4, channels // 4)),
        irreps_ffn=irreps(3 * channels),
        irreps_feature=f"{channels}x0e",
        num_layers=LAYERS,
    )


def points(axis: str, preset: str, values: Sequence[int] | None = None) -> Iterator[Point]:
    """Yield what is computed along an axis, smallest first.

    Atoms: forward of `small` on clouds as dense as water. The others: forward and step of a network of two layers
    with the other settings of the preset, on a cloud of 100 atoms with 16 neighbours each.
    """
    for value in values or VALUES[axis]:
        if axis == "atoms":
            config = preset_config("small")
            yield Point(value, value, config, partial(liquid, value, config), ("forward",))
            continue
        channels, lmax, degree = 64, 2, DEGREE
        if axis == "degree":
            degree = value
        elif axis == "lmax":
            lmax = value
        else:
            channels = value
        config = config_of(preset, channels, lmax)
        # Paths of three degrees, each with the components of its output.
        size = (value + 1.0) ** 4 if axis == "lmax" else float(value)
        yield Point(value, size, config, partial(liquid, ATOMS, config, degree=degree), ("forward", "step"))


def measure_axis(
    axis: str,
    preset: str,
    names: Sequence[tuple[str, Variant | None]],
    *,
    repeats: int,
    device: torch.device,
    values: Sequence[int] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Time all peers along an axis, repeats interleaved.

    Args:
        axis: one of `AXES`.
        preset: whose settings are varied.
        names: peers, with the variant of our own network.
        repeats: timings at each point.
        device: to run on.
        values: along the axis; None: `VALUES`.
        progress: told what is computed.

    Returns:
        for each value {"value", "atoms", "edges", "degree", "peers": {label: {task: timing, "peak": bytes}}} and for
        atoms "radius_graph" in s. A peer that goes no further has {"stopped": why} at that point, and no entry after.
        "peak" is that of the last task, None where the system cannot tell.
    """
    rows: list[dict[str, Any]] = []
    limits: dict[str, _Limit] = {}
    for point in points(axis, preset, values):
        system = point.system().to(device)
        row: dict[str, Any] = {"value": point.value, **system.facts(), "peers": {}}
        if axis == "atoms":
            search = partial(radius_graph, system.pos, point.config.cutoff, system.batch)
            row["radius_graph"] = min(seconds_of(search, device) for _ in range(2))
        taking: dict[str, Peer] = {}
        for name, variant in names:
            label = name if variant is None else variant.label
            limit = limits.setdefault(label, _Limit())
            if limit.ended:
                continue
            reason = limit.stops_before(point.size, 2 if name == "equiformer-pytorch" else 1, device)
            if reason is None:
                progress(f"{axis} {point.value}, {label}")
                try:
                    taking[label] = build_peer(name, point.config, system, device, variant)
                except (Unavailable, RuntimeError, ValueError) as error:
                    reason = str(error)
            if reason is not None:
                limit.ended = True
                row["peers"][label] = {"stopped": reason}
        row["peers"].update(_measure_point(taking, system, point, repeats, device, limits))
        rows.append(row)
    return rows


@dataclass
class _Limit:
    """How far a peer went, and at what cost."""

    size: float = 0.0
    bytes: int = 0
    seconds: float = 0.0
    ended: bool = False

    def stops_before(self, size: float, power: int, device: torch.device) -> str | None:
        """Return why a peer should not go on to a larger point."""
        if self.seconds > LONGEST:
            return f"the point before took {self.seconds:.0f} s"
        if not self.size:
            return None
        needed, there = self.bytes * (size / self.size) ** power, available_memory(device)
        # Small points hold mostly what does not grow.
        if there is not None and self.bytes > 2**27 and needed > MEMORY_SHARE * there:
            return f"would need about {needed / 2**30:.0f} GiB of memory, {there / 2**30:.0f} GiB are free"
        return None


def _measure_point(
    peers: dict[str, Peer],
    system: System,
    point: Point,
    repeats: int,
    device: torch.device,
    limits: dict[str, _Limit],
) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {label: {} for label in peers}
    for task in point.tasks:
        jobs = {k: partial(run_task, p, system, task, False) for k, p in peers.items() if not limits[k].ended}
        for label, timing in interleaved(jobs, repeats, device, budget=LONGEST).items():
            limit = limits[label]
            if "error" in timing:
                out[label]["stopped"], limit.ended = timing["error"], True
            else:
                out[label][task], limit.seconds = timing, timing["median"]
    for label, peer in peers.items():
        if not limits[label].ended:
            limits[label].size, out[label]["peak"] = point.size, _peak(peer, system, point.tasks[-1], device)
            limits[label].bytes = out[label]["peak"] or 0
    return out


def _peak(peer: Peer, system: System, task: str, device: torch.device) -> int | None:
    if not forgets(device):
        return None
    before = reset_peak(device)
    run_task(peer, system, task, False)
    synchronize(device)
    return max(0, peak_memory(device) - before)
