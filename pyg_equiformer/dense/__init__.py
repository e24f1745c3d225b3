"""Dense inputs: tensors [batch, atoms, …] with masks, as models of proteins often have them."""

from .arguments import Equiformer
from .graphs import DenseEdges, dense_edges
from .model import DenseEquiformer, DenseOutput

__all__ = ["DenseEdges", "DenseEquiformer", "DenseOutput", "Equiformer", "dense_edges"]
