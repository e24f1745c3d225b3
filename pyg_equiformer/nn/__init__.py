"""Equivariant layers from irreps to irreps. They know nothing of graphs."""

from .activation import Gate, ScalarActivation, gate_irreps, smooth_leaky_relu
from .couplings import Couplings
from .depthwise_tensor_product import DepthwiseTensorProduct
from .dropout import DropPath, EquivariantDropout, check_probability
from .feed_forward import FeedForward
from .irreps_module import IrrepsModule
from .linear import Linear, PathLinear, map_product
from .norm import NORM_KINDS, EquivariantNorm, NormKind
from .radial import (
    BasisKind,
    BesselBasis,
    ExpNormalBasis,
    GaussianBasis,
    RadialMLP,
    polynomial_envelope,
    radial_basis,
)
from .score import SCORES, AttentionKind, DotScore, MLPScore

__all__ = [
    "NORM_KINDS",
    "SCORES",
    "AttentionKind",
    "BasisKind",
    "BesselBasis",
    "Couplings",
    "DepthwiseTensorProduct",
    "DotScore",
    "DropPath",
    "EquivariantDropout",
    "EquivariantNorm",
    "ExpNormalBasis",
    "FeedForward",
    "Gate",
    "GaussianBasis",
    "IrrepsModule",
    "Linear",
    "MLPScore",
    "NormKind",
    "PathLinear",
    "RadialMLP",
    "ScalarActivation",
    "check_probability",
    "gate_irreps",
    "map_product",
    "polynomial_envelope",
    "radial_basis",
    "smooth_leaky_relu",
]
