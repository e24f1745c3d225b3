"""Cells that a model is called with: their checks, their neighbours, and the way of gradients to them."""

import torch
from torch import Tensor

from ..neighbors import check_apart, image_shift, periodic_edges


def check_cells_and_pbc(
    cell: Tensor | None, pbc: Tensor | None, num_graphs: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return cells [B, 3, 3] in Å and pbc [B, 3] of structures whose neighbours are to be found.

    Args:
        cell: [B, 3, 3], or [3, 3] for one structure; None: no structure is periodic.
        pbc: [B, 3], or [3] for one structure; None: no structure is periodic.
        num_graphs: B.

    Raises:
        ValueError: for other shapes or types, a cell without pbc, or pbc without a cell.

    Example:
        >>> cell, pbc = check_cells_and_pbc(torch.eye(3), torch.tensor([True, True, False]), 1)
        >>> cell.shape, pbc.shape
        (torch.Size([1, 3, 3]), torch.Size([1, 3]))
    """
    if cell is not None and cell.dim() == 2 and num_graphs == 1:
        cell = cell.unsqueeze(0)
    if pbc is not None and pbc.dim() == 1 and num_graphs == 1:
        pbc = pbc.unsqueeze(0)
    if cell is not None and (cell.shape != (num_graphs, 3, 3) or not cell.is_floating_point()):
        raise ValueError(
            f"cell must be a floating point tensor of shape {[num_graphs, 3, 3]}, got {list(cell.shape)} {cell.dtype}"
        )
    if pbc is not None and (pbc.shape != (num_graphs, 3) or pbc.dtype != torch.bool):
        raise ValueError(f"pbc must be a bool tensor of shape {[num_graphs, 3]}, got {list(pbc.shape)} of {pbc.dtype}")
    if torch.compiler.is_compiling():
        return cell, pbc
    if pbc is None and cell is not None and bool((cell.detach() != 0).any()):
        raise ValueError(
            f"a cell was given but no pbc: give pbc, a bool tensor {[num_graphs, 3]} that says along which cell "
            "vectors the structure repeats (all False for a molecule in a box), or edge_index and edge_shift"
        )
    if pbc is not None and cell is None and bool(pbc.any()):
        raise ValueError(f"pbc was given but no cell: give cell, a tensor {[num_graphs, 3, 3]} in Å of row vectors")
    return cell, pbc


def periodic_neighbors(pos: Tensor, cutoff: float, cell: Tensor, pbc: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return the neighbours [2, E] and the shifts of their images [E, 3] in Å, to which gradients by the cell flow.

    Raises:
        ValueError: for cells that do not fit, or atoms at one place.

    Example:
        >>> cell, pbc = torch.eye(3).unsqueeze(0) * 2.5, torch.tensor([[True, False, False]])
        >>> batch = torch.zeros(1, dtype=torch.long)
        >>> periodic_neighbors(torch.zeros(1, 3), 3.0, cell, pbc, batch)[1].tolist()
        [[-2.5, 0.0, 0.0], [2.5, 0.0, 0.0]]
    """
    edge_index, image = periodic_edges(pos, cutoff, cell, pbc, batch)
    known = torch.where(pbc.unsqueeze(2), cell, 0.0).double()  # vectors along which nothing repeats may be anything
    shift = image_shift(image, known, batch.index_select(0, edge_index[1])).to(pos.dtype)
    check_apart(pos, edge_index, shift)
    return edge_index, shift


def follow_cell(edge_shift: Tensor, edge_index: Tensor, cell: Tensor, batch: Tensor) -> Tensor:
    """Return shifts [E, 3] that were stored as numbers, as whole multiples of a cell that has a gradient.

    Raises:
        ValueError: if they are no multiples of the cell's vectors.

    Example:
        >>> cell = (torch.eye(3) * 2).unsqueeze(0).requires_grad_()
        >>> edge_index, batch = torch.zeros(2, 1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
        >>> follow_cell(torch.tensor([[2.0, 0.0, -4.0]]), edge_index, cell, batch).tolist()
        [[2.0, 0.0, -4.0]]
    """
    graph = batch.index_select(0, edge_index[1])
    with torch.no_grad():
        inverse = torch.linalg.pinv(cell.double()).index_select(0, graph)
        image = (edge_shift.double().unsqueeze(1) @ inverse).squeeze(1).round()
        found = image_shift(image, cell.double(), graph)
        far = (found - edge_shift).abs().amax(1) > 1e-3
        if bool(far.any()):
            first = int(far.nonzero()[0])
            raise ValueError(
                f"expected edge_shift to be whole multiples of the cell vectors, got {edge_shift[first].tolist()} Å "
                f"for edge {first} and cell {cell[int(graph[first])].tolist()}"
            )
    return image_shift(image, cell.double(), graph).to(edge_shift.dtype)
