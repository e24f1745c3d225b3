"""The hot functions: one signature each, no parameters."""

from .depthwise import Outer, Part, attention_sum, attention_weighted_product, coupling_matrices, depthwise_product
from .engines import ENGINES, EngineKind, EngineWarning, check_engine, choose_engine
from .messages import Message
from .recompute import recompute, recompute_with, same_draws
from .segments import NeighborTable, neighbor_table, segment_softmax, segment_sum

__all__ = [
    "ENGINES",
    "EngineKind",
    "EngineWarning",
    "Message",
    "NeighborTable",
    "Outer",
    "Part",
    "attention_sum",
    "attention_weighted_product",
    "check_engine",
    "choose_engine",
    "coupling_matrices",
    "depthwise_product",
    "neighbor_table",
    "recompute",
    "recompute_with",
    "same_draws",
    "segment_softmax",
    "segment_sum",
]
