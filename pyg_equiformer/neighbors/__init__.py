"""Who is near whom: graphs from positions, as pure tensors."""

from .mirror import mirror_order
from .periodic import periodic_radius_graph
from .radius_graph import radius_graph

__all__ = ["mirror_order", "periodic_radius_graph", "radius_graph"]
