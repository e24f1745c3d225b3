"""Predictions for a set of structures, beside their labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from .. import keys
from ..data.structure_sets import Target
from .geometries import SHAPES, Geometries, collate_geometries, geometry_batches


@dataclass(frozen=True)
class Predictions:
    """Predictions for B structures with N atoms in all, beside the labels; float64, in the units of the targets.

    Args:
        targets: what was predicted.
        predicted: by name of the target, [B, …] per structure or [N, …] per atom, see `Target.kind`.
        true: labels of the same shapes, NaN where one is missing; targets without any label have no entry.
        spread: standard deviation over the members of a committee, of the same shapes; empty for one model.
        z: atomic numbers [N].
        num_atoms: atoms of each structure [B].
        references: sums of the elements' reference energies [B] in eV, or None. They are part of the energies
            above, and are taken off where energies of structures are compared with each other.

    Raises:
        ValueError: if a shape is another.

    Example:
        >>> gap = Target("gap", "graph_scalar", "eV")
        >>> p = Predictions((gap,), {"gap": np.ones(1)}, {}, z=np.ones(2), num_atoms=np.array([2]))
        >>> len(p), p.labelled
        (1, ())
    """

    targets: tuple[Target, ...]
    predicted: Mapping[str, np.ndarray]
    true: Mapping[str, np.ndarray]
    spread: Mapping[str, np.ndarray] = field(default_factory=dict)
    z: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    num_atoms: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    references: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.z.shape != (int(self.num_atoms.sum()),):
            raise ValueError(f"z: expected [{int(self.num_atoms.sum())}] as num_atoms says, got {self.z.shape}")
        for target in self.targets:
            if target.name not in self.predicted:
                raise ValueError(f"{target.name}: expected predictions of it, got {sorted(self.predicted)}")
            count = len(self.z) if target.per_atom else len(self)
            for what, values in (("predicted", self.predicted), ("true", self.true), ("spread", self.spread)):
                if target.name in values and values[target.name].shape != (count, *SHAPES[target.kind]):
                    shape = values[target.name].shape
                    raise ValueError(f"{what} {target.name}: expected {(count, *SHAPES[target.kind])}, got {shape}")

    def __len__(self) -> int:
        return len(self.num_atoms)

    @property
    def labelled(self) -> tuple[Target, ...]:
        """Targets that have labels to compare with."""
        return tuple(t for t in self.targets if t.name in self.true)

    def compared(self, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and labels of a target, energies without the reference energies of the elements."""
        predicted, true = self.predicted[target.name], self.true[target.name]
        if target.name == keys.ENERGY and self.references is not None:
            return predicted - self.references, true - self.references
        return predicted, true


def predict(
    model: nn.Module,
    structures: Sequence[Data],
    targets: Sequence[Target],
    *,
    batch_size: int = 32,
    max_edges: int | None = None,
    device: torch.device | str | None = None,
    workers: int = 0,
    progress: Callable[[int, int], Any] | None = None,
) -> Predictions:
    """Predict the targets for structures, in order; only one batch of structures is held at a time.

    The model is put into evaluation mode for the time being. Positions are converted to its precision, and
    structures without stored neighbours get those within `model.config.cutoff`.

    Args:
        model: called with a batch, returns a tensor per name, as `EnergyForces`, `PropertyModel` and `Ensemble`
            do; `<name>_std` is taken for the spread of a committee.
        structures: a list, or a sequence that reads from disk; labels are kept where there are any.
        targets: what to predict.
        batch_size: most structures per batch.
        max_edges: most edges per batch; a structure with more makes a batch of its own. None: no limit.
        device: where the model is moved to; None leaves it where it is.
        workers: processes that read structures and find neighbours; 0: none beside this one.
        progress: called after each batch with the structures done and in all.

    Raises:
        ValueError: if there is no structure, the model does not predict a target, or a label has a wrong shape.

    Example:
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> from pyg_equiformer.data.structure_sets import ENERGY
        >>> water = Data(z=torch.tensor([8, 1, 1]), pos=torch.randn(3, 3))
        >>> predictions = predict(EnergyForces(Equiformer.from_preset("small")), [water, water], [ENERGY])
        >>> predictions.predicted["energy"].shape
        (2,)
    """
    _check(structures, targets, batch_size, max_edges)
    if device is not None:
        model.to(device)
    weights = next(p for p in model.parameters() if p.is_floating_point())
    cutoff = float(getattr(model, "config").cutoff)  # noqa: B009  (nn.Module's attributes are tensors to mypy)
    geometries, done = Geometries(structures, tuple(targets), cutoff), 0
    columns: dict[str, list[Any]] = {}
    with evaluating(model):
        for items in geometry_batches(geometries, batch_size, max_edges, workers):
            batch = collate_geometries([geometry for geometry, _ in items], weights.dtype).to(weights.device)
            for name, value in _outputs(model, batch, targets).items():
                columns.setdefault(name, []).append(value.detach().double().cpu().numpy())
            for geometry, labels in items:
                columns.setdefault("z", []).append(geometry[keys.Z].reshape(-1))
                for target in targets:
                    columns.setdefault(f"true {target.name}", []).append(labels[target.name])
            done += len(items)
            if progress is not None:
                progress(done, len(structures))
    return _join(columns, tuple(targets), reference_energies(model))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and each of its modules back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check(structures: Sequence[Data], targets: Sequence[Target], batch_size: int, max_edges: int | None) -> None:
    if len(structures) == 0:
        raise ValueError("expected at least one structure to predict for, got none")
    if not targets:
        raise ValueError("expected at least one target to predict, got none")
    for name, value in (("batch_size", batch_size), ("max_edges", max_edges)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")


def _outputs(model: nn.Module, batch: Any, targets: Sequence[Target]) -> dict[str, Tensor]:
    """What the model gives for the targets, and the spreads of a committee."""
    outputs = model(batch)
    if not isinstance(outputs, Mapping):
        raise ValueError(
            f"expected a model that returns a tensor per name, got {type(outputs).__name__}; "
            "wrap it in EnergyForces or PropertyModel"
        )
    for target in targets:
        if target.name not in outputs:
            raise ValueError(f"the model does not predict {target.name!r}, it gives {sorted(outputs)}")
    names = [n for t in targets for n in (t.name, f"{t.name}_std") if n in outputs]
    return {name: outputs[name] for name in names}


def reference_energies(model: nn.Module) -> dict[int, float] | None:
    """Return the reference energy of each element that a model adds to its energies, in eV; None if it adds none.

    Args:
        model: `EnergyForces`, a `PropertyModel` that predicts "energy", or an `Ensemble` of these, whose members'
            first one is asked.
    """
    members: Any = getattr(model, "models", None)
    first: Any = members[0] if members else model
    energies = getattr(first, "atomic_energies", None)
    if energies is not None:
        return dict(energies)
    several = getattr(first, "atomic_references", None)
    if several is None or keys.ENERGY not in first.names:
        return None
    return {z: values[first.names.index(keys.ENERGY)] for z, values in several.items()}


def _join(
    columns: dict[str, list[Any]], targets: tuple[Target, ...], energies: Mapping[int, float] | None
) -> Predictions:
    num_atoms = np.array([len(z) for z in columns["z"]])
    predicted, true, spread = {}, {}, {}
    for target in targets:
        name, rest = target.name, SHAPES[target.kind]
        predicted[name] = np.concatenate(columns[name]).reshape(-1, *rest)
        if f"{name}_std" in columns:
            spread[name] = np.concatenate(columns[f"{name}_std"]).reshape(-1, *rest)
        labels = columns[f"true {name}"]
        if any(label is not None and np.isfinite(label).any() for label in labels):
            counts = num_atoms if target.per_atom else np.ones_like(num_atoms)
            true[name] = np.concatenate(
                [np.full((n, *rest), np.nan) if label is None else label for n, label in zip(counts, labels)]
            )
    references = None
    if energies is not None:
        references = np.array([sum(energies[z] for z in each.tolist()) for each in columns["z"]])
    return Predictions(targets, predicted, true, spread, np.concatenate(columns["z"]), num_atoms, references)
