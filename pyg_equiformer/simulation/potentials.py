"""From a model, a file, a run folder or a list of these to one potential that is ready to be called."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .. import checkpoints
from ..models import EnergyForces, Ensemble, Equiformer, PropertyModel

Source = str | Path | nn.Module

#: Inputs that atoms in space do not have, by the setting that asks for them.
_MORE_INPUTS = {"num_tokens": None, "edge_dim": 0, "num_edge_types": 0, "num_positions": 0, "irreps_node": None}


class Potential(NamedTuple):
    """What gives energies and forces.

    Attributes:
        model: `EnergyForces` or `Ensemble` of these, a copy of what was given, in evaluation mode.
        elements: atomic numbers that all members were trained on, or that all networks have weights for.
        told: whether `elements` are those of the training.
    """

    model: EnergyForces | Ensemble
    elements: tuple[int, ...]
    told: bool


class _Member(NamedTuple):
    model: EnergyForces
    elements: frozenset[int]
    told: bool


def load_potential(model: Source | Sequence[Source]) -> Potential:
    """Return the potential in a model, a file, a run folder, or the committee of a list of these.

    Args:
        model: `EnergyForces`, `Ensemble` of these, folder of a run (a committee's too), its `model.pt` or any other
            file of `save_model`; or a list of these, whose members are one committee.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a model that does not give energies and forces, that needs more than atoms and cell, or for
            members that do not fit each other.

    Example:
        >>> network = Equiformer.from_preset("small", num_layers=1)
        >>> load_potential([EnergyForces(network), EnergyForces(network)]).model
        Ensemble(
          2 members
          (models): ModuleList(
        ...
    """
    sources = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    if not sources:
        raise ValueError("expected a model, a file, a run folder, or a list of these, got an empty list")
    members = [member for source in sources for member in _members(source)]
    models = [member.model for member in members]
    elements = frozenset.intersection(*(member.elements for member in members))
    whole = models[0] if len(models) == 1 else Ensemble(models)
    return Potential(whole.eval(), tuple(sorted(elements)), all(member.told for member in members))


def _members(source: Any) -> list[_Member]:
    """Return the potentials of one source, as copies whose stress is asked for at each call."""
    elements: Any = None
    name = f"a {type(source).__name__}"
    if isinstance(source, str | Path):
        file = checkpoints.find_model(source)
        name, elements, source = str(file), checkpoints.read_extra(file).get("elements"), checkpoints.load_model(file)
    parts = list(source.models) if isinstance(source, Ensemble) else [source]
    members = []
    for part in parts:
        _check(part, name)
        model: Any = copy.deepcopy(part)
        model.stress = False
        known = frozenset(elements or model.atomic_energies or model.config.elements)
        members.append(_Member(model, known, bool(elements) or model.atomic_energies is not None))
    return members


def _check(model: Any, name: str) -> None:
    """Raise a ValueError unless a model takes atoms and gives energies and forces."""
    if isinstance(model, Equiformer):
        raise ValueError(f"{name} is a network without units: wrap it, EnergyForces(model), to give eV and eV/Å")
    if isinstance(model, PropertyModel):
        raise ValueError(
            f"{name} predicts {', '.join(model.names)} and no forces, expected a model that was trained on energies "
            "and forces"
        )
    if not isinstance(model, EnergyForces):
        raise ValueError(
            f"expected EnergyForces, an Ensemble of these, or the folder or file of such a model, got {name}"
        )
    for setting, without in _MORE_INPUTS.items():
        if (value := getattr(model.config, setting)) != without:
            raise ValueError(f"{name} needs more than atoms and a cell: {setting}={value!r}, expected {without!r}")


def prepare(
    potential: Potential, dtype: torch.dtype | str | None, device: torch.device | str | None, compile: bool
) -> Potential:
    """Return the potential in a precision, on a device, its weights fixed.

    Args:
        potential: is changed.
        dtype: `torch.float32`, `torch.float64` or their names; None: that of the weights.
        device: None: where the weights are.
        compile: see `Equiformer`.

    Raises:
        ValueError: for another dtype, or a device that is not there.
    """
    kinds = {"float32": torch.float32, "float64": torch.float64}
    wanted = kinds.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in (None, *kinds.values()) or (dtype is not None and wanted is None):
        raise ValueError(f"dtype: expected float32, float64 or None for that of the model, got {dtype!r}")
    model = potential.model.requires_grad_(False)
    if wanted is not None:
        model.to(wanted)
    if device is not None:
        try:
            model.to(device)
        except (RuntimeError, AssertionError) as error:  # PyTorch's ways to say that there is no such device
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"device: expected one that there is here, such as cpu, got {device}: {reason}") from None
    for member in model.models if isinstance(model, Ensemble) else [model]:
        network: Any = member.model
        network.set_compile(compile)
        if wanted is not None:
            network.set_precision("float64" if wanted == torch.float64 else "float32")
    return potential._replace(model=model)
