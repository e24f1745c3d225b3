"""Equivariant layers from irreps to irreps. They know nothing of graphs."""

from .activation import (
    Gate,
    HeadGate,
    NormActivation,
    ScalarActivation,
    channel_norm,
    gate_irreps,
    smooth_leaky_relu,
)
from .couplings import Couplings
from .depthwise_tensor_product import DepthwiseTensorProduct
from .dropout import DropPath, EquivariantDropout, check_probability
from .feed_forward import FFN_ACTIVATIONS, FeedForward, FFNActivationKind
from .irreps_module import IrrepsModule
from .linear import Linear, PathLinear, map_product, share_heads
from .linear_attention import LinearAttention
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
from .score import SCORES, AttentionKind, DistanceScore, DotScore, MLPScore, ScalarScoreKind

__all__ = [
    "FFN_ACTIVATIONS",
    "NORM_KINDS",
    "SCORES",
    "AttentionKind",
    "BasisKind",
    "BesselBasis",
    "Couplings",
    "DepthwiseTensorProduct",
    "DistanceScore",
    "DotScore",
    "DropPath",
    "EquivariantDropout",
    "EquivariantNorm",
    "ExpNormalBasis",
    "FFNActivationKind",
    "FeedForward",
    "Gate",
    "GaussianBasis",
    "HeadGate",
    "IrrepsModule",
    "Linear",
    "LinearAttention",
    "MLPScore",
    "NormActivation",
    "NormKind",
    "PathLinear",
    "RadialMLP",
    "ScalarActivation",
    "ScalarScoreKind",
    "channel_norm",
    "check_probability",
    "gate_irreps",
    "map_product",
    "polynomial_envelope",
    "radial_basis",
    "share_heads",
    "smooth_leaky_relu",
]
