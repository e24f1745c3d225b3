"""What a model was called with, in one form."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import keys
from ..conv import check_edge_index
from ..kernels import NeighborTable
from .config import EquiformerConfig


class GraphInputs(NamedTuple):
    """Inputs of a model: see `Equiformer`, which takes them in place of z too, then without checks.

    The last fields are filled by `prepare_edges`.
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


def collect_inputs(
    z: Any,
    pos: Tensor | None,
    batch: Tensor | None,
    edge_index: Tensor | None,
    edge_attr: Tensor | None,
    edge_shift: Tensor | None,
    config: EquiformerConfig,
    cell: Tensor | None = None,
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
        edge_index, edge_shift = _edges_of(data, edge_index, edge_shift, config.cutoff)
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
    return GraphInputs(z.long(), pos, batch.long(), num_graphs, edge_index, edge_attr, edge_shift, cell)


def _field(data: Any, name: str) -> Tensor:
    value = getattr(data, name, None)
    if not isinstance(value, Tensor):
        raise ValueError(f"expected a tensor z or a Data object with {name!r}, got {type(data).__name__} without it")
    return value


def _edges_of(
    data: Any, edge_index: Tensor | None, edge_shift: Tensor | None, cutoff: float
) -> tuple[Tensor | None, Tensor | None]:
    """Return the edges that were given, else those stored in the data, and the shifts that belong to them."""
    stored = getattr(data, keys.RADIUS_EDGE_INDEX, None)
    if edge_index is None and stored is not None:
        _check_stored_cutoff(data, cutoff)
        edge_index = stored
        edge_shift = getattr(data, keys.RADIUS_EDGE_SHIFT, None) if edge_shift is None else edge_shift
    if edge_shift is None and not torch.compiler.is_compiling():
        pbc = getattr(data, keys.PBC, None)
        if isinstance(pbc, Tensor) and bool(pbc.any()):
            raise ValueError(
                f"periodic data needs stored neighbours: apply pyg_equiformer.data.RadiusGraph({cutoff}) to each "
                "structure, or pass edge_index with edge_shift"
            )
    return edge_index, edge_shift


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
