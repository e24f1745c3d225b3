"""Losses on energies and forces, and their weighted sum."""

from typing import Literal

from torch import Tensor

EnergyLoss = Literal["l1", "mse"]
ForceLoss = Literal["norm", "l1", "mse"]


def energy_loss(predicted: Tensor, target: Tensor, kind: EnergyLoss = "l1") -> Tensor:
    r"""Mean error of the energies of B structures.

    .. math:: \tfrac{1}{B} \sum_b |E_b - \hat E_b| \quad\text{or}\quad \tfrac{1}{B} \sum_b (E_b - \hat E_b)^2

    Args:
        predicted: energies [B], in eV or any other unit.
        target: true energies [B] in the same unit.
        kind: `"l1"` (absolute) or `"mse"` (squared).

    Raises:
        ValueError: if the shapes differ or the kind is not known.

    Example:
        >>> import torch
        >>> energy_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0])).item()
        0.25
    """
    if predicted.shape != target.shape or predicted.dim() != 1:
        raise ValueError(f"expected energies [B] twice, got {list(predicted.shape)} and {list(target.shape)}")
    error = predicted - target
    if kind == "l1":
        return error.abs().mean()
    if kind == "mse":
        return error.square().mean()
    raise ValueError(f"unknown energy loss {kind!r}, expected 'l1' or 'mse'")


def force_loss(predicted: Tensor, target: Tensor, kind: ForceLoss = "norm") -> Tensor:
    r"""Mean error of the forces on N atoms.

    .. math:: \tfrac{1}{N} \sum_i \lVert F_i - \hat F_i \rVert_2

    for `"norm"`, the published choice for MD17: it does not depend on the orientation of the axes, and atoms
    with large errors do not drown the others. `"l1"` and `"mse"` average the absolute or squared components.

    Args:
        predicted: forces [N, 3], in eV/Å or any other unit.
        target: true forces [N, 3] in the same unit.
        kind: `"norm"`, `"l1"` or `"mse"`.

    Raises:
        ValueError: if the shapes differ or the kind is not known.

    Example:
        >>> import torch
        >>> force_loss(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]), torch.zeros(2, 3)).item()
        2.5
    """
    if predicted.shape != target.shape or predicted.dim() != 2 or predicted.shape[1] != 3:
        raise ValueError(f"expected forces [N, 3] twice, got {list(predicted.shape)} and {list(target.shape)}")
    error = predicted - target
    if kind == "norm":
        # A vector that is exactly right has no direction: the subgradient of its norm is 0, as torch has it.
        return error.norm(dim=1).mean()
    if kind == "l1":
        return error.abs().mean()
    if kind == "mse":
        return error.square().mean()
    raise ValueError(f"unknown force loss {kind!r}, expected 'norm', 'l1' or 'mse'")
