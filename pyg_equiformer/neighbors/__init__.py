"""Who is near whom: graphs from positions, as pure tensors."""

from .bonded_graph import BondedEdges, bonded_graph
from .bonds import n_hop_adjacency, sample_bonds
from .knn_graph import knn_graph
from .mirror import mirror_order
from .periodic import PeriodicEdges, image_shift, periodic_edges, periodic_radius_graph, periodic_vectors
from .periodic_search import check_apart
from .radius_graph import radius_graph
from .skin import SkinNeighbors

__all__ = [
    "BondedEdges",
    "PeriodicEdges",
    "SkinNeighbors",
    "bonded_graph",
    "check_apart",
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
