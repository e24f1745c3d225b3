"""What a model was called with, in one form."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import keys
from ..conv import check_edge_index
from .config import EquiformerConfig


class GraphInputs(NamedTuple):
    """Inputs of a model: see `Equiformer`."""

    z: Tensor
    pos: Tensor
    batch: Tensor
    num_graphs: int
    edge_index: Tensor | None
    edge_attr: Tensor | None
    edge_shift: Tensor | None


def collect_inputs(
    z: Any,
    pos: Tensor | None,
    batch: Tensor | None,
    edge_index: Tensor | None,
    edge_attr: Tensor | None,
    edge_shift: Tensor | None,
    config: EquiformerConfig,
) -> GraphInputs:
    """Return the inputs of `model(z, pos, batch)` or `model(data)`, checked."""
    num_graphs = None
    if not isinstance(z, Tensor):
        data = z
        if pos is not None or batch is not None:
            raise ValueError("give either z, pos and batch, or a Data object alone, not both")
        z, pos = _field(data, keys.Z), _field(data, keys.POS)
        batch = getattr(data, keys.BATCH, None)
        # A Batch knows its number of graphs; a plain Data with a batch vector does not.
        num_graphs = getattr(data, "num_graphs", None) if batch is not None else 1
        stored = getattr(data, keys.RADIUS_EDGE_INDEX, None)
        if edge_index is None and stored is not None:
            _check_stored_cutoff(data, config.cutoff)
            edge_index = stored
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
    return GraphInputs(z.long(), pos, batch.long(), num_graphs, edge_index, edge_attr, edge_shift)


def _field(data: Any, name: str) -> Tensor:
    value = getattr(data, name, None)
    if not isinstance(value, Tensor):
        raise ValueError(f"expected a tensor z or a Data object with {name!r}, got {type(data).__name__} without it")
    return value


def _check_stored_cutoff(data: Any, cutoff: float) -> None:
    stored = getattr(data, keys.RADIUS_CUTOFF, None)
    if isinstance(stored, Tensor) and not torch.compiler.is_compiling():
        wrong = stored[(stored - cutoff).abs() > 1e-6]
        if wrong.numel():
            raise ValueError(f"edges stored with a cutoff of {float(wrong[0])} Å, but the model's is {cutoff} Å")


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
