"""Checks of what users pass to a convolution, made before any work."""

from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor
from torch_geometric.typing import SparseTensor

from ..o3 import SCALAR, Blocks, Layout, as_irreps, count


def choose_head(layout_in: Layout, irreps_head: Irreps | str | None, heads: int, attention: str) -> Irreps:
    """Return the irreps of one head: as given, or those of the input divided by the number of heads."""
    if heads < 1:
        raise ValueError(f"heads must be at least 1, got {heads}")
    if irreps_head is None:
        uneven = [f"{mul}x{ir}" for mul, ir in layout_in.canonical if mul % heads]
        if uneven:
            raise ValueError(
                f"heads={heads} does not divide the channels {', '.join(uneven)} of irreps_in; "
                "choose another number of heads or give irreps_head"
            )
        irreps = Irreps([(mul // heads, ir) for mul, ir in layout_in.canonical])
    else:
        irreps = as_irreps(irreps_head, "irreps_head")
    if attention == "mlp" and count(irreps, SCALAR) == 0:
        raise ValueError(f"irreps_head needs 0e channels for attention='mlp', got {irreps}")
    return irreps


def check_kv_heads(kv_heads: int | None, heads: int) -> int:
    """Return the number of keys and values, which divides that of heads."""
    if kv_heads is None:
        return heads
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"kv_heads must divide heads={heads}, got {kv_heads}")
    return kv_heads


def check_features(x: Any, layout: Layout) -> Blocks:
    """Return the blocks of node features, checked."""
    if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] != layout.dim:
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must have shape [N, {layout.dim}] for irreps {layout.irreps}, got {got}")
    return layout.split(x)


def check_edge_index(edge_index: Tensor, size: tuple[int, int]) -> None:
    """Raise a ValueError unless `edge_index` holds integers [2, E] in range for `size` nodes."""
    if edge_index.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"edge_index must be int64, got {edge_index.dtype}")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape [2, E], got {tuple(edge_index.shape)}")
    _check_range(edge_index, size)


def check_edges(
    edge_index: Any,
    flow: str,
    size: tuple[int, int],
    edge_sh: Tensor,
    edge_attr: Tensor,
    edge_weight: Tensor | None,
    conv: Any,
    trusted: bool,
    mirrored: bool = False,
) -> tuple[Any, Tensor]:
    """Return `edge_index` (int64 if it is a tensor) and the target of each edge, checked.

    The range of a `trusted` tensor was checked before (by the model, once for all its layers). `mirrored` edges share
    their attributes with their reverses.
    """
    i = 1 if flow == "source_to_target" else 0
    if isinstance(edge_index, SparseTensor):
        row, col, _ = edge_index.coo()
        rows, index = torch.stack([col, row]), row
        _check_range(rows, size)
    elif isinstance(edge_index, Tensor) and edge_index.layout == torch.strided:
        if not trusted:
            check_edge_index(edge_index, size)
        edge_index = edge_index if edge_index.dtype == torch.int64 else edge_index.long()
        rows, index = edge_index, edge_index[i]
    else:
        raise ValueError(f"edge_index must be a tensor [2, E], EdgeIndex or SparseTensor, got {type(edge_index)}")
    num_edges = rows.shape[1]
    if mirrored and num_edges % 2:
        raise ValueError(f"mirrored edges come in pairs, got {num_edges} edges")
    of_attr = num_edges // 2 if mirrored else num_edges
    shapes = [("edge_sh", edge_sh, num_edges, conv.sh_dim), ("edge_attr", edge_attr, of_attr, conv.edge_dim)]
    for name, value, length, width in shapes:
        if not isinstance(value, Tensor) or value.shape != (length, width):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{name} must have shape [{length}, {width}], got {got}")
    if edge_weight is not None and edge_weight.shape != (rows.shape[1],):
        raise ValueError(f"edge_weight must have shape [{rows.shape[1]}], got {tuple(edge_weight.shape)}")
    return edge_index, index


def _check_range(rows: Tensor, size: tuple[int, int]) -> None:
    if torch.compiler.is_compiling() or rows.shape[1] == 0:
        return
    low, high = torch.aminmax(rows, dim=1)
    for k in range(2):
        if int(low[k]) < 0 or int(high[k]) >= size[k]:
            raise ValueError(
                f"edge_index[{k}] must lie in [0, {size[k]}), got values from {int(low[k])} to {int(high[k])}"
            )


def must_show_messages(conv: Any) -> bool:
    """Return whether a message or aggregate hook or an explainer looks at the messages of a layer."""
    hooks = (
        conv._message_forward_pre_hooks,
        conv._message_forward_hooks,
        conv._aggregate_forward_pre_hooks,
        conv._aggregate_forward_hooks,
    )
    return bool(conv.explain) or any(len(h) > 0 for h in hooks)
