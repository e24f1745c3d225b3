"""Trained models at work: an ASE calculator, relaxation, molecular dynamics; many structures at once with TorchSim.

The names below are imported on first use; they need ASE (extra `train`) or TorchSim (extra `torchsim`) by then.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calculator import EquiformerCalculator
    from .dynamics import MDSettings
    from .molecular_dynamics import MDResult, SimulationStopped, resume_md, run_md
    from .relaxation import Relaxed, relax
    from .torchsim import EquiformerTorchSim

_HOMES = {
    "EquiformerCalculator": "calculator",
    "EquiformerTorchSim": "torchsim",
    "MDResult": "molecular_dynamics",
    "MDSettings": "dynamics",
    "Relaxed": "relaxation",
    "SimulationStopped": "molecular_dynamics",
    "relax": "relaxation",
    "resume_md": "molecular_dynamics",
    "run_md": "molecular_dynamics",
}

__all__ = [
    "EquiformerCalculator",
    "EquiformerTorchSim",
    "MDResult",
    "MDSettings",
    "Relaxed",
    "SimulationStopped",
    "relax",
    "resume_md",
    "run_md",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
