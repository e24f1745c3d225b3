"""Equivariant graph attention (Equiformer) as message passing for PyTorch Geometric.

The names below are imported on first use, so that the command line can show its help without loading PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import load_model, load_official, save_model, to_official_state_dict
    from .conv import EquiformerConv
    from .dense import DenseEquiformer
    from .hub import from_pretrained, push_to_hub, save_pretrained
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
    from .neighbors import (
        bonded_graph,
        knn_graph,
        n_hop_adjacency,
        periodic_edges,
        periodic_radius_graph,
        periodic_vectors,
        radius_graph,
    )
    from .simulation import EquiformerCalculator

__version__ = "0.1.0"

_HOMES = {
    "Denoising": "models",
    "DenseEquiformer": "dense",
    "EdgeGeometry": "models",
    "EnergyForces": "models",
    "Ensemble": "models",
    "Equiformer": "models",
    "EquiformerBlock": "models",
    "EquiformerCalculator": "simulation",
    "EquiformerConfig": "models",
    "EquiformerConv": "conv",
    "PropertyModel": "models",
    "bonded_graph": "neighbors",
    "from_pretrained": "hub",
    "knn_graph": "neighbors",
    "load_model": "checkpoints",
    "load_official": "checkpoints",
    "n_hop_adjacency": "neighbors",
    "periodic_edges": "neighbors",
    "periodic_radius_graph": "neighbors",
    "periodic_vectors": "neighbors",
    "push_to_hub": "hub",
    "radius_graph": "neighbors",
    "save_model": "checkpoints",
    "save_pretrained": "hub",
    "to_official_state_dict": "checkpoints",
}
_PARTS = (
    "checkpoints",
    "conv",
    "data",
    "dense",
    "explain",
    "export",
    "hub",
    "keys",
    "kernels",
    "models",
    "neighbors",
    "nn",
    "o3",
    "simulation",
    "units",
)

__all__ = [
    "Denoising",
    "DenseEquiformer",
    "EdgeGeometry",
    "EnergyForces",
    "Ensemble",
    "Equiformer",
    "EquiformerBlock",
    "EquiformerCalculator",
    "EquiformerConfig",
    "EquiformerConv",
    "PropertyModel",
    "bonded_graph",
    "from_pretrained",
    "knn_graph",
    "load_model",
    "load_official",
    "n_hop_adjacency",
    "periodic_edges",
    "periodic_radius_graph",
    "periodic_vectors",
    "push_to_hub",
    "radius_graph",
    "save_model",
    "save_pretrained",
    "to_official_state_dict",
]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})
