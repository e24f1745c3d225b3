"""The hot functions: one signature each, no parameters."""

from .depthwise import Outer, Part, attention_sum, attention_weighted_product, coupling_matrices, depthwise_product
from .recompute import recompute, recompute_with, same_draws
from .segments import NeighborTable, neighbor_table, segment_softmax, segment_sum

__all__ = [
    "NeighborTable",
    "Outer",
    "Part",
    "attention_sum",
    "attention_weighted_product",
    "coupling_matrices",
    "depthwise_product",
    "neighbor_table",
    "recompute",
    "recompute_with",
    "same_draws",
    "segment_softmax",
    "segment_sum",
]
