"""What is compared, on what, and how often."""

from dataclasses import dataclass
from typing import Any

from ..models import preset_config
from .machine import choose_device, cores
from .peers import PEERS, check_peers
from .scaling import check_axes
from .systems import workload
from .variants import OURS, Variant, check_variant


@dataclass(frozen=True)
class BenchSettings:
    """Settings of a comparison.

    Attributes:
        preset: of the network; its molecules are made up like those that it was published for.
        peers: who takes part beside our own network; None: everybody that is known.
        variants: of our own network; the first is what all others are compared with.
        molecules: in a batch; None: as many as the preset was published with.
        repeats: timings of each, after a first one that is told apart.
        threads: of the processor; None: one for each core.
        device: "auto", "cpu" or "cuda".
        scaling: axes to follow, of "atoms", "degree", "lmax" and "channels".
        memory: whether peak memory is measured, in a process of its own each time.

    Raises:
        ValueError: for a name that does not exist, a number that is too small, or a variant that cannot be.

    Example:
        >>> BenchSettings("small", peers=("e3nn",)).molecules
        8
    """

    preset: str = "qm9"
    peers: tuple[str, ...] | None = None
    variants: tuple[Variant, ...] = (Variant(),)
    molecules: int | None = None
    repeats: int = 5
    threads: int | None = None
    device: str = "auto"
    scaling: tuple[str, ...] = ()
    memory: bool = True

    def __post_init__(self) -> None:
        preset_config(self.preset)
        peers = list(PEERS) if self.peers is None else check_peers(list(self.peers))
        filled: dict[str, Any] = {
            "peers": tuple(name for name in peers if name != OURS),
            "variants": tuple(dict.fromkeys(self.variants)),
            "molecules": workload(self.preset).molecules if self.molecules is None else self.molecules,
            "threads": cores() if self.threads is None else self.threads,
            "device": choose_device(self.device).type,
            "scaling": tuple(check_axes(self.scaling)),
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        for name in ("molecules", "repeats", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}: expected at least 1, got {getattr(self, name)}")
        if not self.variants:
            raise ValueError("expected at least one variant of our own network, got none")
        for variant in self.variants:
            check_variant(variant)
