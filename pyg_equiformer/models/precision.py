"""Precision as a choice: of the weights, and of the matrix products."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

PrecisionKind = Literal["float64", "float32", "tf32", "bf16"]


def check_precision(precision: PrecisionKind | None) -> PrecisionKind | None:
    """Return the precision.

    Raises:
        ValueError: for an unknown one.

    Example:
        >>> check_precision("bf16")
        'bf16'
    """
    if precision is not None and precision not in get_args(PrecisionKind):
        raise ValueError(f"precision must be one of {get_args(PrecisionKind)} or None, got {precision!r}")
    return precision


def weight_dtype(precision: PrecisionKind) -> torch.dtype:
    """Return the precision of weights and positions: that of the products is another matter.

    Example:
        >>> weight_dtype("bf16")
        torch.float32
    """
    return torch.float64 if precision == "float64" else torch.float32


def products_in(precision: PrecisionKind | None, device: torch.device) -> AbstractContextManager[object]:
    """Return a context for the forward pass, in which products of float32 have this precision.

    Between float32 and TF32 PyTorch knows one setting for the whole process, which must still hold when the gradient
    is computed; so it stays as it is set here.
    """
    if precision in ("float32", "tf32") and not torch.compiler.is_compiling():
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
