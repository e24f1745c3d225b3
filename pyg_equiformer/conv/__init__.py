"""Message passing layers of PyTorch Geometric."""

from .attention_parts import MessageKind
from .checks import check_edge_index, check_kv_heads
from .edge_degree_embedding import EdgeDegreeEmbedding
from .equiformer_conv import EquiformerConv
from .parity_blind import ParityBlindConv, attention_layer, without_parity

__all__ = [
    "EdgeDegreeEmbedding",
    "EquiformerConv",
    "MessageKind",
    "ParityBlindConv",
    "attention_layer",
    "check_edge_index",
    "check_kv_heads",
    "without_parity",
]
