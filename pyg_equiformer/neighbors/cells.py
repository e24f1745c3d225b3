"""Periodic cells: checked, completed where a structure does not repeat, and their heights."""

from typing import NamedTuple

import torch
from torch import Tensor

#: No structure repeats after less; a shorter cell is in another unit.
SMALLEST_REPEAT = 0.1


class Lattice(NamedTuple):
    """A cell made ready for a search.

    Attributes:
        vectors: rows [3, 3] in Å, float64, on the CPU; where nothing repeats, a unit vector across the others.
        repeats: whether the structure repeats along each.
        heights: distances in Å between opposite faces.
    """

    vectors: Tensor
    repeats: tuple[bool, bool, bool]
    heights: list[float]


def check_lattice(cell: Tensor, pbc: Tensor) -> Lattice:
    """Return the lattice of a cell.

    Args:
        cell: rows are the cell vectors [3, 3] in Å; those along which nothing repeats do not matter.
        pbc: whether the structure repeats along each [3], bool.

    Raises:
        ValueError: for other shapes or types, or periodic cell vectors that are not finite, not independent or
            shorter than any structure's.

    Example:
        >>> check_lattice(torch.eye(3) * 4, torch.tensor([True, True, False])).heights
        [4.0, 4.0, 1.0]
    """
    if not isinstance(pbc, Tensor) or pbc.shape != (3,) or pbc.dtype != torch.bool:
        raise ValueError(f"expected pbc as a bool tensor of shape [3], got {_told(pbc)}")
    if not isinstance(cell, Tensor) or cell.shape != (3, 3) or not cell.is_floating_point():
        raise ValueError(f"expected cell as a floating point tensor of shape [3, 3], got {_told(cell)}")
    mask = pbc.cpu()
    rows = torch.tensor(cell.tolist(), dtype=torch.float64)[mask]  # numbers: torch.func knows nothing of them
    if not bool(rows.isfinite().all()):
        raise ValueError(f"expected finite cell vectors, got {cell.tolist()}")
    # The smallest singular value is the smallest height, up to a factor of √3.
    _, sizes, axes = torch.linalg.svd(rows, full_matrices=True)
    if sizes.numel() and float(sizes[-1]) < SMALLEST_REPEAT / 2:
        raise ValueError(
            f"expected independent cell vectors in Å where pbc is True, got cell {cell.tolist()} with pbc "
            f"{pbc.tolist()}, which repeats after less than {SMALLEST_REPEAT} Å: check its unit, or set pbc to False "
            "where the structure does not repeat"
        )
    vectors = torch.zeros(3, 3, dtype=torch.float64)
    vectors[mask], vectors[~mask] = rows, axes[len(rows) :]
    heights = torch.linalg.inv(vectors).norm(dim=0).reciprocal().tolist()
    a, b, c = mask.tolist()
    return Lattice(vectors, (a, b, c), heights)


def _told(value: object) -> str:
    return f"{list(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
