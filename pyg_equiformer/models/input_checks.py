"""Checks of edge types, sequence positions and equivariant inputs of nodes, before any work is done."""

import torch
from e3nn.o3 import Irreps
from torch import Tensor


def check_edge_type(edge_type: Tensor | None, edge_index: Tensor | None, num_edge_types: int) -> Tensor | None:
    """Return the types of the edges [E] as int64.

    Raises:
        ValueError: if they are missing, not wanted, or not integers below `num_edge_types`, one per edge.

    Example:
        >>> check_edge_type(torch.tensor([2]), torch.tensor([[0], [1]]), 3)
        tensor([2])
    """
    if num_edge_types == 0:
        if edge_type is not None:
            raise ValueError("edge_type was given, but the model has num_edge_types=0: set it to the number of types")
        return None
    if edge_type is None:
        raise ValueError(
            f"the model expects edge_type [E] with values below {num_edge_types}, got none: pass it with edge_index, "
            "or apply pyg_equiformer.data.BondGraph to the data"
        )
    if edge_index is None:
        raise ValueError("edge_type needs the edge_index that it belongs to")
    return _integers(edge_type, edge_index.shape[1], num_edge_types, "edge_type", "num_edge_types")


def check_node_position(node_position: Tensor | None, num_nodes: int, num_positions: int) -> Tensor | None:
    """Return the positions in a sequence [N] as int64.

    Raises:
        ValueError: if they are missing, not wanted, or not integers below `num_positions`, one per node.

    Example:
        >>> check_node_position(torch.tensor([0, 1]), 2, num_positions=10)
        tensor([0, 1])
    """
    if num_positions == 0:
        if node_position is not None:
            raise ValueError(
                "node_position was given, but the model has num_positions=0: set it to the longest sequence"
            )
        return None
    if node_position is None:
        raise ValueError(
            f"the model expects node_position [{num_nodes}] with values below {num_positions}, got none: pass it, or "
            "set data.node_position"
        )
    return _integers(node_position, num_nodes, num_positions, "node_position", "num_positions")


def check_node_attr(node_attr: Tensor | None, num_nodes: int, irreps_node: str | None) -> None:
    """Check the equivariant inputs of the nodes [N, irreps_node.dim].

    Raises:
        ValueError: if they are missing, not wanted, of another shape or type, or not finite.

    Example:
        >>> check_node_attr(torch.zeros(2, 3), 2, "1x1o")
    """
    if irreps_node is None:
        if node_attr is not None:
            raise ValueError("node_attr was given, but the model has irreps_node=None: set it to its irreps")
        return
    want = [num_nodes, Irreps(irreps_node).dim]
    if node_attr is None:
        raise ValueError(
            f"the model expects node_attr {want} of {irreps_node}, got none: pass it, or set data.node_attr"
        )
    if list(node_attr.shape) != want or not node_attr.is_floating_point():
        raise ValueError(
            f"node_attr must be a floating point tensor of shape {want} for irreps_node={irreps_node!r}, got "
            f"{list(node_attr.shape)} of {node_attr.dtype}"
        )
    if torch.compiler.is_compiling():
        return
    finite = torch.isfinite(node_attr.detach()).all(dim=1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise ValueError(f"node_attr must be finite, got {node_attr[first].tolist()} for node {first}")


def _integers(values: Tensor, length: int, limit: int, name: str, setting: str) -> Tensor:
    if list(values.shape) != [length] or values.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} must hold {length} integers, got shape {list(values.shape)} of {values.dtype}")
    if not torch.compiler.is_compiling() and values.numel():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= limit:
            raise ValueError(
                f"{name} must lie in [0, {limit}), got values from {low} to {high}; {setting} says how many there are"
            )
    return values.long()
