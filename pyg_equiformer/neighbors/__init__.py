"""Who is near whom: graphs from positions, as pure tensors."""

from .radius_graph import radius_graph

__all__ = ["radius_graph"]
