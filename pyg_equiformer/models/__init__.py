"""The Equiformer: blocks, network, heads, configurations, forces."""

from .block import EquiformerBlock
from .config import EquiformerConfig
from .energy_forces import EnergyForces
from .equiformer import Equiformer
from .geometry import EdgeFeatures, EdgeGeometry
from .presets import PRESETS, preset_config

__all__ = [
    "PRESETS",
    "EdgeFeatures",
    "EdgeGeometry",
    "EnergyForces",
    "Equiformer",
    "EquiformerBlock",
    "EquiformerConfig",
    "preset_config",
]
