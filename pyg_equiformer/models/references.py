"""Reference values of the elements: what is known of a property before the network says a word."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

MAX_Z = 120


def check_references(references: Mapping[int, float | Sequence[float]], what: str) -> None:
    """Raise a ValueError unless the keys are atomic numbers."""
    wrong = [z for z in references if not 0 <= z < MAX_Z]
    if wrong:
        raise ValueError(f"{what}: expected atomic numbers below {MAX_Z}, got {wrong}")


def atomic_references(z: Tensor, references: Mapping[int, float | Sequence[float]], what: str) -> Tensor:
    """Return the reference values of atoms, float64.

    Args:
        z: atomic numbers [N].
        references: a number, or K numbers, by atomic number.
        what: one such value, for the message.

    Returns:
        [N], or [N, K].

    Raises:
        ValueError: for an element without a reference.

    Example:
        >>> atomic_references(torch.tensor([8, 1]), {1: -13.6, 8: -2041.3}, "atomic energy").tolist()
        [-2041.3, -13.6]
    """
    values = torch.tensor(list(references.values()), dtype=torch.float64)
    table = torch.full((MAX_Z, *values.shape[1:]), torch.nan, dtype=torch.float64)
    table[list(references)] = values
    each = table.to(z.device)[z]
    unknown = each.isnan() if each.dim() == 1 else each.isnan().any(dim=1)
    if bool(unknown.any()):
        missing = sorted(set(z[unknown].tolist()))
        raise ValueError(f"no {what} for Z = {missing}, only for {sorted(references)}")
    return each
