"""Who is near whom: graphs from positions, as pure tensors."""

from .bonded_graph import BondedEdges, bonded_graph
from .bonds import n_hop_adjacency, sample_bonds
from .knn_graph import knn_graph
from .mirror import mirror_order
from .periodic import periodic_radius_graph
from .radius_graph import radius_graph

__all__ = [
    "BondedEdges",
    "bonded_graph",
    "knn_graph",
    "mirror_order",
    "n_hop_adjacency",
    "periodic_radius_graph",
    "radius_graph",
    "sample_bonds",
]
