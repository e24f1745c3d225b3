"""Checks of what is given to graph construction, before any work is done."""

import math
from numbers import Integral, Real

import torch
from torch import Tensor


def check_cutoff(r: float) -> float:
    """Return the cutoff as a Python float.

    Args:
        r: cutoff in Å.

    Raises:
        ValueError: if it is not a positive, finite number.

    Example:
        >>> check_cutoff(5)
        5.0
    """
    if not isinstance(r, Real) or isinstance(r, bool) or not 0 < r < math.inf:
        raise ValueError(f"expected the cutoff r to be a positive, finite number in Å, got {r!r}")
    return float(r)


def check_max_num_neighbors(max_num_neighbors: int | None) -> int | None:
    """Return the largest number of neighbours per target, `None` for all.

    Raises:
        ValueError: if it is neither `None` nor an integer of at least 1.

    Example:
        >>> check_max_num_neighbors(32)
        32
    """
    if max_num_neighbors is None:
        return None
    valid = isinstance(max_num_neighbors, Integral) and not isinstance(max_num_neighbors, bool)
    if not valid or max_num_neighbors < 1:
        raise ValueError(
            "expected max_num_neighbors to be an integer ≥ 1, or None to keep all neighbours, "
            f"got {max_num_neighbors!r}"
        )
    return int(max_num_neighbors)


def check_count(value: int, name: str, what: str, least: int = 1) -> int:
    """Return a number of things as a Python int.

    Raises:
        ValueError: if it is not an integer of at least `least`.

    Example:
        >>> check_count(16, "k", "neighbours of each atom")
        16
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"expected {name}, {what}, to be an integer ≥ {least}, got {value!r}")
    return int(value)


def check_positions(pos: Tensor) -> Tensor:
    """Return the positions [N, 3] detached and contiguous.

    Raises:
        ValueError: if they are not a float32 or float64 tensor [N, 3], or an atom is at NaN or infinity.

    Example:
        >>> check_positions(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """
    if not isinstance(pos, Tensor):
        raise ValueError(f"expected pos to be a tensor [N, 3], got {type(pos).__name__}")
    if pos.dim() != 2 or pos.shape[1] != 3:
        raise ValueError(f"expected pos of shape [N, 3], got {list(pos.shape)}")
    if pos.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"expected pos in float32 or float64, got {pos.dtype}")
    pos = pos.detach().contiguous()
    finite = pos.isfinite()
    if not bool(finite.all()):
        atom = int((~finite.all(dim=1)).nonzero()[0])
        raise ValueError(f"expected finite positions, got {pos[atom].tolist()} for atom {atom}")
    return pos


def check_batch(batch: Tensor, pos: Tensor) -> None:
    """Check that `batch` [N] gives an integer for each row of `pos`, on the same device.

    Raises:
        ValueError: if it does not.

    Example:
        >>> check_batch(torch.tensor([0, 0, 1]), torch.zeros(3, 3))
    """
    if not isinstance(batch, Tensor):
        raise ValueError(f"expected batch to be a tensor or None, got {type(batch).__name__}")
    if batch.shape != pos.shape[:1]:
        raise ValueError(f"expected batch of shape [{pos.shape[0]}], as pos, got {list(batch.shape)}")
    if batch.is_floating_point() or batch.is_complex() or batch.dtype == torch.bool:
        raise ValueError(f"expected batch of integers, got {batch.dtype}")
    if batch.device != pos.device:
        raise ValueError(f"expected batch on {pos.device}, as pos, got {batch.device}")
