"""Errors that a training run makes small: of one target, and their weighted sum over all targets and devices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .. import keys
from ..data.structure_sets import Target

LossKind = Literal["l1", "mse", "norm"]

#: Weights where nobody gives others. Stresses in eV/Å³ are small numbers beside forces in eV/Å.
WEIGHTS = {keys.FORCES: 100.0, keys.STRESS: 1000.0}


def target_error(predicted: Tensor, target: Tensor, kind: LossKind = "l1") -> Tensor:
    r"""Error of each structure or atom.

    .. math:: |y - \hat y|, \qquad (y - \hat y)^2, \qquad \lVert y - \hat y \rVert_2

    for `"l1"` and `"mse"`, averaged over the components of vectors and tensors, and for `"norm"`, the published choice
    for forces: it does not depend on the orientation of the axes, and atoms with large errors do not drown the others.

    Args:
        predicted: values [n, …] for n structures or atoms.
        target: true values, of the same shape and unit.
        kind: `"l1"`, `"mse"` or `"norm"`.

    Returns:
        Errors [n].

    Raises:
        ValueError: if the shapes differ or the kind is not known.

    Example:
        >>> target_error(torch.tensor([[3.0, 4.0, 0.0]]), torch.zeros(1, 3), "norm")
        tensor([5.])
    """
    if predicted.shape != target.shape or predicted.dim() < 1:
        raise ValueError(
            f"expected two tensors of one shape [n, …], got {list(predicted.shape)} and {list(target.shape)}"
        )
    error = (predicted - target).flatten(1) if predicted.dim() > 1 else (predicted - target).unsqueeze(1)
    if kind == "l1":
        return error.abs().mean(dim=1)
    if kind == "mse":
        return error.square().mean(dim=1)
    if kind == "norm":
        # A vector that is exactly right has no direction: the subgradient of its norm is 0, as torch has it.
        return error.norm(dim=1)
    raise ValueError(f"unknown loss {kind!r}, expected one of {get_args(LossKind)}")


@dataclass(frozen=True)
class LossTerm:
    """What one target adds to the loss.

    Args:
        target: the label.
        kind: see `target_error`.
        weight: of the term.
        scale: unit of the errors, in the label's unit.
        per_atom: whether errors of structures are divided by their number of atoms.
    """

    target: Target
    kind: LossKind
    weight: float
    scale: float
    per_atom: bool = False

    def errors(
        self, predicted: Tensor, true: Tensor, num_atoms: Tensor, used: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the errors and their number; labels that are NaN, or not `used`, do not count."""
        known = ~true.isnan().flatten(1).any(dim=1) if true.dim() > 1 else ~true.isnan()
        if used is not None:
            known = known & used
        # Unknown labels, and predictions that are undefined there, are replaced before the difference: NaN times
        # zero is NaN in the gradient.
        shape = (-1, *[1] * (true.dim() - 1))
        true, predicted = (torch.where(known.view(shape), x, 0) for x in (true, predicted))
        # The difference of two large energies is taken in the labels' precision.
        wide = torch.promote_types(true.dtype, predicted.dtype)
        predicted, true = predicted.to(wide) / self.scale, true.to(wide) / self.scale
        if self.per_atom and not self.target.per_atom:
            predicted, true = predicted / num_atoms.view(shape), true / num_atoms.view(shape)
        error = target_error(predicted, true, self.kind)
        return (error * known).sum(), known.sum()


def loss_terms(
    targets: tuple[Target, ...],
    scales: Mapping[str, float],
    weight: Mapping[str, float],
    loss: Mapping[str, LossKind],
    energy_per_atom: bool = False,
) -> tuple[LossTerm, ...]:
    """Return the terms of the loss for the targets, with the defaults of `TrainConfig`.

    Raises:
        ValueError: if a weight or loss names no target, or all weights are 0.

    Example:
        >>> from pyg_equiformer.data.structure_sets import ENERGY, FORCES
        >>> [t.weight for t in loss_terms((ENERGY, FORCES), {"energy": 1.0, "forces": 1.0}, {}, {})]
        [1.0, 100.0]
    """
    names = [t.name for t in targets]
    for what, given in (("weight", weight), ("loss", loss)):
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"{what}: expected targets of this run ({', '.join(names)}), got {', '.join(unknown)}")
    terms = tuple(
        LossTerm(
            target=t,
            kind=loss.get(t.name, "l1" if t.kind.endswith("scalar") else "norm"),
            weight=float(weight.get(t.name, WEIGHTS.get(t.name, 1.0))),
            scale=float(scales[t.name]),
            per_atom=energy_per_atom and t.name == keys.ENERGY,
        )
        for t in targets
    )
    if not any(term.weight > 0 for term in terms):
        raise ValueError(f"the weights of all targets ({', '.join(names)}) are 0, expected at least one above 0")
    return terms


def sum_over_devices(counts: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the counts over all devices of the run, and the number of devices."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return counts, 1
    total = counts.clone()
    torch.distributed.all_reduce(total)
    return total, torch.distributed.get_world_size()


def weighted_loss(sums: list[Tensor], counts: list[Tensor], weights: list[float]) -> Tensor:
    r"""Return this device's part of the loss.

    .. math:: L_d = D \sum_t w_t \frac{\sum_{i \in d} e_{ti}}{\sum_{d'} n_{td'}}

    Lightning averages the gradients of the D devices: with this factor the result is the gradient of the mean over
    all atoms and structures of all devices, however unevenly they are spread.

    Args:
        sums: sum of the errors on this device, for each term.
        counts: their number on this device.
        weights: of the terms.

    Example:
        >>> weighted_loss([torch.tensor(6.0)], [torch.tensor(3)], [10.0])
        tensor(20.)
    """
    total, devices = sum_over_devices(torch.stack(counts).double())
    parts = [w * s * (devices / n.clamp(min=1)).to(s.dtype) for w, s, n in zip(weights, sums, total)]
    return torch.stack([p.to(parts[0].dtype) for p in parts]).sum()
