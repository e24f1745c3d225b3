"""The published Equiformer written plainly with e3nn: slow, obvious, and independent of the fast layers.

It is the oracle of the tests and the baseline of the benchmarks. Features are flat tensors in e3nn's layout,
messages are computed edge by edge, and parameters carry the published names.
"""

from .attention import DotProductAttention, GraphAttention
from .embedding import AtomEmbedding, ReferenceEdgeDegree
from .layers import DepthwiseProduct, FeedForward, Gate, Linear, RadialMLP
from .model import ReferenceBlock, ReferenceEquiformer
from .norm import reference_norm
from .radial import reference_basis

__all__ = [
    "AtomEmbedding",
    "DepthwiseProduct",
    "DotProductAttention",
    "FeedForward",
    "Gate",
    "GraphAttention",
    "Linear",
    "RadialMLP",
    "ReferenceBlock",
    "ReferenceEdgeDegree",
    "ReferenceEquiformer",
    "reference_basis",
    "reference_norm",
]
