"""What a model was called with, in one form."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import keys
from ..conv import check_edge_index
from ..kernels import NeighborTable
from .config import EquiformerConfig
from .input_checks import check_edge_type, check_node_attr, check_node_position
from .periodic import check_cells_and_pbc, follow_cell


class GraphInputs(NamedTuple):
    """Inputs of a model: see `Equiformer`, which takes them in place of z too, then without checks.

    `table`, `mirrored` and `prepared` are filled by `prepare_edges`; `chunked` asks to store nothing of the edges.
    """

    z: Tensor
    pos: Tensor
    batch: Tensor
    num_graphs: int
    edge_index: Tensor | None
    edge_attr: Tensor | None
    edge_shift: Tensor | None
    cell: Tensor | None = None
    table: NeighborTable | None = None
    mirrored: bool = False
    prepared: bool = False
    edge_type: Tensor | None = None
    node_position: Tensor | None = None
    node_attr: Tensor | None = None
    pbc: Tensor | None = None
    chunked: bool = False


def collect_inputs(
    z: Any,
    pos: Tensor | None,
    batch: Tensor | None,
    edge_index: Tensor | None,
    edge_attr: Tensor | None,
    edge_shift: Tensor | None,
    config: EquiformerConfig,
    cell: Tensor | None = None,
    *,
    edge_type: Tensor | None = None,
    node_position: Tensor | None = None,
    node_attr: Tensor | None = None,
    pbc: Tensor | None = None,
) -> GraphInputs:
    """Return the inputs of `model(z, pos, batch)` or `model(data)`, checked."""
    if isinstance(z, GraphInputs):
        return z
    num_graphs = None
    if not isinstance(z, Tensor):
        data = z
        if pos is not None or batch is not None:
            raise ValueError("give either z, pos and batch, or a Data object alone, not both")
        z, pos = _field(data, keys.Z), _field(data, keys.POS)
        batch = getattr(data, keys.BATCH, None)
        # A Batch knows its number of graphs; a plain Data with a batch vector does not.
        num_graphs = getattr(data, "num_graphs", None) if batch is not None else 1
        cell = getattr(data, keys.CELL, None) if cell is None else cell
        pbc = getattr(data, keys.PBC, None) if pbc is None else pbc
        edge_index, edge_shift, edge_type = _edges_of(data, edge_index, edge_shift, edge_type, config)
        if node_position is None and config.num_positions:
            node_position = getattr(data, keys.NODE_POSITION, None)
        if node_attr is None and config.irreps_node is not None:
            node_attr = getattr(data, keys.NODE_ATTR, None)
    if pos is None:
        raise ValueError("pos is missing: call model(z, pos, batch) or model(data)")
    if z.dim() == 2 and z.shape[1] == 1:
        z = z.squeeze(1)
    if z.dim() != 1 or z.shape[0] != pos.shape[0] or z.is_floating_point() or z.is_complex():
        raise ValueError(f"z must hold {pos.shape[0]} integer atomic numbers, got shape {tuple(z.shape)} of {z.dtype}")
    if batch is None:
        batch, num_graphs = torch.zeros_like(z, dtype=torch.long), 1
    elif batch.shape != z.shape or batch.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"batch must hold {z.shape[0]} integers, got shape {tuple(batch.shape)} of {batch.dtype}")
    if num_graphs is None:
        num_graphs = int(batch.max()) + 1 if batch.numel() else 0
    _check_edges(edge_index, edge_attr, config, pos.shape[0])
    if edge_shift is not None:
        edge_shift = _checked_shift(edge_shift, edge_index, pos)
    if edge_index is None:
        cell, pbc = check_cells_and_pbc(cell, pbc, num_graphs)
    else:
        _check_edges_of_cell(edge_shift, pbc, config)
        if edge_shift is not None and cell is not None and cell.requires_grad and not edge_shift.requires_grad:
            edge_shift = follow_cell(edge_shift, edge_index, cell.reshape(-1, 3, 3), batch.long())
    edge_type = check_edge_type(edge_type, edge_index, config.num_edge_types)
    node_position = check_node_position(node_position, pos.shape[0], config.num_positions)
    check_node_attr(node_attr, pos.shape[0], config.irreps_node)
    return GraphInputs(
        z.long(),
        pos,
        batch.long(),
        num_graphs,
        edge_index,
        edge_attr,
        edge_shift,
        cell,
        edge_type=edge_type,
        node_position=node_position,
        node_attr=node_attr,
        pbc=pbc,
    )


def _field(data: Any, name: str) -> Tensor:
    value = getattr(data, name, None)
    if not isinstance(value, Tensor):
        raise ValueError(f"expected a tensor z or a Data object with {name!r}, got {type(data).__name__} without it")
    return value


def _edges_of(
    data: Any,
    edge_index: Tensor | None,
    edge_shift: Tensor | None,
    edge_type: Tensor | None,
    config: EquiformerConfig,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the edges that were given, else those stored in the data, and the shifts and types that belong to them."""
    within, chosen = (getattr(data, key, None) for key in (keys.RADIUS_EDGE_INDEX, keys.NEIGHBOR_EDGE_INDEX))
    if edge_index is None and within is not None and chosen is not None:
        raise ValueError(
            f"data has neighbours within a cutoff ({keys.RADIUS_EDGE_INDEX!r}) and others "
            f"({keys.NEIGHBOR_EDGE_INDEX!r}): remove one of these fields, or pass edge_index"
        )
    if edge_index is None and chosen is not None:
        edge_index = chosen
        if edge_type is None and config.num_edge_types:
            edge_type = getattr(data, keys.NEIGHBOR_EDGE_TYPE, None)
    elif edge_index is None and within is not None:
        _check_stored_cutoff(data, config.cutoff)
        edge_index = within
        edge_shift = getattr(data, keys.RADIUS_EDGE_SHIFT, None) if edge_shift is None else edge_shift
    return edge_index, edge_shift, edge_type


def _check_edges_of_cell(edge_shift: Tensor | None, pbc: Tensor | None, config: EquiformerConfig) -> None:
    """Raise a ValueError for edges of a periodic structure that do not tell which image they lead to."""
    if edge_shift is None and not torch.compiler.is_compiling() and pbc is not None and bool(pbc.any()):
        raise ValueError(
            "edges of a periodic structure need edge_shift [E, 3], the shift of each source's image in Å: pass it, "
            f"pass no edges, or apply pyg_equiformer.data.RadiusGraph({config.cutoff}) to each structure"
        )


def _check_stored_cutoff(data: Any, cutoff: float) -> None:
    stored = getattr(data, keys.RADIUS_CUTOFF, None)
    if isinstance(stored, Tensor) and not torch.compiler.is_compiling():
        wrong = stored[(stored - cutoff).abs() > 1e-6]
        if wrong.numel():
            raise ValueError(f"edges stored with a cutoff of {float(wrong[0])} Å, but the model's is {cutoff} Å")


def _checked_shift(edge_shift: Tensor, edge_index: Tensor | None, pos: Tensor) -> Tensor:
    if edge_index is None:
        raise ValueError("edge_shift needs the edge_index that it belongs to")
    if edge_shift.shape != (edge_index.shape[1], 3):
        raise ValueError(f"edge_shift must have shape [{edge_index.shape[1]}, 3], got {list(edge_shift.shape)}")
    return edge_shift.to(pos.dtype)


def _check_edges(edge_index: Tensor | None, edge_attr: Tensor | None, config: EquiformerConfig, num_atoms: int) -> None:
    if edge_index is not None:
        check_edge_index(edge_index, (num_atoms, num_atoms))
    if (edge_attr is not None) != (config.edge_dim > 0):
        given = "none" if edge_attr is None else f"shape {tuple(edge_attr.shape)}"
        raise ValueError(f"the model expects edge_attr [E, {config.edge_dim}], got {given}")
    if edge_attr is None:
        return
    if edge_index is None:
        raise ValueError("edge_attr needs the edge_index that it belongs to")
    if edge_attr.shape != (edge_index.shape[1], config.edge_dim):
        raise ValueError(
            f"edge_attr must have shape [{edge_index.shape[1]}, {config.edge_dim}], got {tuple(edge_attr.shape)}"
        )
