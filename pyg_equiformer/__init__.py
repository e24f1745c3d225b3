"""Equivariant graph attention (Equiformer) as message passing for PyTorch Geometric."""

from .checkpoints import load_model, load_official, save_model, to_official_state_dict
from .conv import EquiformerConv
from .models import (
    Denoising,
    EdgeGeometry,
    EnergyForces,
    Ensemble,
    Equiformer,
    EquiformerBlock,
    EquiformerConfig,
    PropertyModel,
)
from .neighbors import periodic_radius_graph, radius_graph

__version__ = "0.1.0"

__all__ = [
    "Denoising",
    "EdgeGeometry",
    "EnergyForces",
    "Ensemble",
    "Equiformer",
    "EquiformerBlock",
    "EquiformerConfig",
    "EquiformerConv",
    "PropertyModel",
    "load_model",
    "load_official",
    "periodic_radius_graph",
    "radius_graph",
    "save_model",
    "to_official_state_dict",
]
