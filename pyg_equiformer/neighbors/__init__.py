"""Who is near whom: graphs from positions, as pure tensors."""

from .periodic import periodic_radius_graph
from .radius_graph import radius_graph

__all__ = ["periodic_radius_graph", "radius_graph"]
