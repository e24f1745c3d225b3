"""Who is near whom: graphs from positions, as pure tensors."""

from .bonded_graph import BondedEdges, bonded_graph
from .bonds import n_hop_adjacency, sample_bonds
from .knn_graph import knn_graph
from .mirror import mirror_order
from .periodic import PeriodicEdges, image_shift, periodic_edges, periodic_radius_graph, periodic_vectors
from .radius_graph import radius_graph

__all__ = [
    "BondedEdges",
    "PeriodicEdges",
    "bonded_graph",
    "image_shift",
    "knn_graph",
    "mirror_order",
    "n_hop_adjacency",
    "periodic_edges",
    "periodic_radius_graph",
    "periodic_vectors",
    "radius_graph",
    "sample_bonds",
]
