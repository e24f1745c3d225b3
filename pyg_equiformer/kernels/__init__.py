"""The hot functions: one signature each, no parameters."""

from .depthwise import (
    Outer,
    Part,
    attention_sum,
    attention_weighted_product,
    coupling_matrices,
    depthwise_product,
    grouped_matrices,
    pair_matrices,
)
from .engines import ENGINES, EngineKind, EngineWarning, check_engine, choose_engine, engine_module
from .mapped_product import mapped_product, worth_chunks
from .messages import Message
from .opaque import know_plan
from .recompute import recompute, recompute_with, same_draws
from .segments import NeighborTable, neighbor_table, segment_softmax, segment_sum, take_rows

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
    "engine_module",
    "grouped_matrices",
    "know_plan",
    "mapped_product",
    "neighbor_table",
    "pair_matrices",
    "recompute",
    "recompute_with",
    "same_draws",
    "segment_softmax",
    "segment_sum",
    "take_rows",
    "worth_chunks",
]
