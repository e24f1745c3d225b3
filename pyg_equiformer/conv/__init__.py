"""Message passing layers of PyTorch Geometric."""

from .checks import check_edge_index
from .edge_degree_embedding import EdgeDegreeEmbedding
from .equiformer_conv import EquiformerConv, MessageKind

__all__ = ["EdgeDegreeEmbedding", "EquiformerConv", "MessageKind", "check_edge_index"]
