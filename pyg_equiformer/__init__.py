"""Equivariant graph attention (Equiformer) as message passing for PyTorch Geometric."""

from .checkpoints import load_model, load_official, save_model, to_official_state_dict
from .conv import EquiformerConv
from .models import (
    EdgeGeometry,
    EnergyForces,
    Equiformer,
    EquiformerBlock,
    EquiformerConfig,
)
from .neighbors import radius_graph

__version__ = "0.1.0"

__all__ = [
    "EdgeGeometry",
    "EnergyForces",
    "Equiformer",
    "EquiformerBlock",
    "EquiformerConfig",
    "EquiformerConv",
    "load_model",
    "load_official",
    "radius_graph",
    "save_model",
    "to_official_state_dict",
]
