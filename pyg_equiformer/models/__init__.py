"""The Equiformer: blocks, network, heads, configurations; energies, forces, stress, properties, ensembles."""

from .block import EquiformerBlock
from .config import EquiformerConfig
from .denoising import Denoising
from .energy_forces import EnergyForces
from .ensemble import Ensemble
from .equiformer import Equiformer
from .features import Features
from .geometry import EdgeFeatures, EdgeGeometry
from .presets import PRESETS, preset_config
from .properties import PropertyModel

__all__ = [
    "PRESETS",
    "Denoising",
    "EdgeFeatures",
    "EdgeGeometry",
    "EnergyForces",
    "Ensemble",
    "Equiformer",
    "EquiformerBlock",
    "EquiformerConfig",
    "Features",
    "PropertyModel",
    "preset_config",
]
