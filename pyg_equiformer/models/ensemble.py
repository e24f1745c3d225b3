"""Committees: several models of one kind, their mean and their spread."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .energy_forces import EnergyForces
from .inputs import collect_inputs
from .prepare import find_neighbors
from .pretrained import Pretrained
from .properties import PropertyModel

Member = EnergyForces | PropertyModel


class Ensemble(Pretrained, nn.Module):
    r"""Mean and spread of models that were trained apart, as an estimate of how certain they are.

    .. math:: \bar y = \frac{1}{K} \sum_k y_k, \qquad \sigma = \sqrt{\frac{1}{K} \sum_k (y_k - \bar y)^2}

    The mean of the forces is minus the gradient of the mean energy. Neighbours are found once for all members.

    Args:
        models: `EnergyForces`, or `PropertyModel` of the same properties, with one cutoff.

    Shapes:
        as in the members → their outputs' means by name, and `<name>_std` of the same shape (of each component
        of a vector). `stress` and `per_atom` at the call are those of `EnergyForces`.

    Raises:
        ValueError: if there are no members, or they differ in outputs or inputs, or `stress` or `per_atom` is asked
            of members that are no `EnergyForces`.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> members = [EnergyForces(Equiformer.from_preset("small", num_layers=1)) for _ in range(2)]
        >>> out = Ensemble(members)(torch.tensor([8, 1, 1]), torch.randn(3, 3))
        >>> sorted(out)
        ['energy', 'energy_std', 'forces', 'forces_std']
    """

    def __init__(self, models: Sequence[Member]) -> None:
        super().__init__()
        if not models:
            raise ValueError("an ensemble needs at least one model, got none")
        for model in models:
            if not isinstance(model, EnergyForces | PropertyModel):
                raise ValueError(
                    "members must be EnergyForces or PropertyModel, which name their outputs, got "
                    f"{type(model).__name__}"
                )
        first = _signature(models[0])
        for number, model in enumerate(models):
            wrong = [f"{k}: {v!r}, not {first.get(k)!r}" for k, v in _signature(model).items() if v != first.get(k)]
            if wrong:
                raise ValueError(f"model {number} does not fit the first: " + "; ".join(wrong))
        names = set(first["names"])
        if clash := sorted(n for n in names if f"{n}_std" in names):
            raise ValueError(f"the spread of {clash[0]!r} would have the name of another property, {clash[0]}_std")
        self.models = nn.ModuleList(models)

    @property
    def config(self) -> Any:
        return self.models[0].config

    def forward(
        self,
        z: Any,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_type: Tensor | None = None,
        node_position: Tensor | None = None,
        node_attr: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        stress: bool | None = None,
        per_atom: bool = False,
    ) -> dict[str, Tensor]:
        wanted: dict[str, Any] = {}
        if stress is not None or per_atom:
            if not isinstance(self.models[0], EnergyForces):
                raise ValueError("stress and per_atom are for ensembles of EnergyForces, got members PropertyModel")
            wanted = {"stress": stress, "per_atom": per_atom}
        extras: dict[str, Any] = {"edge_type": edge_type, "node_position": node_position, "node_attr": node_attr}
        extras |= {"pbc": pbc}
        inputs = collect_inputs(z, pos, batch, edge_index, edge_attr, edge_shift, self.config, cell, **extras)
        inputs = find_neighbors(inputs, self.config.cutoff)
        outputs = [model(inputs, **wanted) for model in self.models]
        values: dict[str, Tensor] = {}
        for name in outputs[0]:
            each = torch.stack([out[name] for out in outputs])
            values[name] = each.mean(dim=0)
            values[f"{name}_std"] = _spread(each)
        return values

    def extra_repr(self) -> str:
        return f"{len(self.models)} members"


def potentials_of(model: Any) -> list[EnergyForces]:
    """Return the potentials of a model: itself, or those of a committee.

    Raises:
        ValueError: for a model of another kind.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> potential = EnergyForces(Equiformer.from_preset("small", num_layers=1))
        >>> len(potentials_of(potential)), len(potentials_of(Ensemble([potential, potential])))
        (1, 2)
    """
    members: list[Any] = list(model.models) if isinstance(model, Ensemble) else [model]
    for member in members:
        if not isinstance(member, EnergyForces):
            raise ValueError(
                f"expected a model of energies (EnergyForces, or an Ensemble of them), got {type(member).__name__}"
            )
    return members


def _signature(model: Member) -> dict[str, Any]:
    """Return what members must have in common."""
    inputs = ("cutoff", "edge_dim", "num_edge_types", "num_tokens", "num_positions", "irreps_node")
    common = {"kind": type(model).__name__} | {name: getattr(model.config, name) for name in inputs}
    if isinstance(model, PropertyModel):
        return common | {"names": model.names, "output": model.config.output, "units": model.units}
    return common | {"names": ("energy", "forces"), "stress": model.stress}


def _spread(each: Tensor) -> Tensor:
    """Return the population standard deviation over members, with a gradient of zero where they agree."""
    variance = (each - each.mean(dim=0)).square().mean(dim=0)
    return torch.where(variance == 0, 0.0, torch.where(variance == 0, 1.0, variance).sqrt())
