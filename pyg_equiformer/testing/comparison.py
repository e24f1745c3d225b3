"""The comparison behind every check of equivariance, and what it says when it fails."""

from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor

#: Violations relative to the largest output that rounding alone explains.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}


def name_of(function: Any) -> str:
    """Return what to call a layer or function in a message."""
    return getattr(function, "__name__", None) or type(function).__name__


def compare(
    got: Tensor, expected: Tensor, tolerance: float | None, name: str, change: str, irreps: Irreps | None = None
) -> None:
    """Raise an AssertionError if `got` is further from `expected` than `tolerance` times the largest number.

    Args:
        got, expected: tensors of one shape.
        tolerance: None: by precision.
        name, change: what is compared, and under what; for the message.
        irreps: of the last axis, for the message.
    """
    if got.shape != expected.shape:
        raise AssertionError(
            f"{name} changes its shape under {change}: {tuple(expected.shape)} became {tuple(got.shape)}"
        )
    if got.numel() == 0:
        return
    allowed = TOLERANCES.get(got.dtype, 1e-2) if tolerance is None else tolerance
    error = (got - expected).abs().nan_to_num(nan=torch.inf)
    worst, largest = float(error.max()), float(expected.abs().max())
    if worst < torch.inf and worst <= allowed * largest:
        return
    where = [int(i) for i in torch.unravel_index(error.argmax(), error.shape)]
    place = f"row {where[0]}" + "".join(f", column {i}" for i in where[1:])
    if irreps is not None:
        entry = next(k for k, s in enumerate(irreps.slices()) if s.start <= where[-1] < s.stop)
        place += f" ({irreps[entry]})"
    raise AssertionError(
        f"{name} is not equivariant under {change}: it is off by {worst:.2e} where the largest number is "
        f"{largest:.2e} (allowed {allowed:.0e} of that), in {place}"
    )
