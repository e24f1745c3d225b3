"""From the settings of a run and the statistics of its data to a model and the terms of its loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from .. import keys
from ..data.structure_sets import Target
from ..models import EnergyForces, Equiformer, EquiformerConfig, PropertyModel, preset_config
from .config import TrainConfig
from .losses import LossTerm, loss_terms
from .statistics import Statistics

ENERGY_FAMILY = (keys.ENERGY, keys.FORCES, keys.STRESS)

_OUTPUTS = {
    "graph_scalar": "graph_scalar",
    "graph_vector": "graph_vector",
    "node_scalar": "node_scalar",
    "node_vector": "node_vector",
}


@dataclass(frozen=True)
class Plan:
    """What a run trains, and what its loss is made of.

    Args:
        model: maps a batch to the targets, by name.
        terms: of the loss.
        scales: unit of the network's output for each target, in the target's unit.
        references: reference values of the elements for the energy, {} where there are none.
    """

    model: EnergyForces | PropertyModel
    terms: tuple[LossTerm, ...]
    scales: dict[str, float]
    references: dict[int, float]


def config_of(model: nn.Module) -> EquiformerConfig:
    """Return the configuration of a model's network; `EnergyForces`, `PropertyModel` and `Ensemble` tell it."""
    config = getattr(model, "config", None)
    if not isinstance(config, EquiformerConfig):
        raise ValueError(f"expected EnergyForces, PropertyModel or Ensemble, got {type(model).__name__}")
    return config


def is_energy_family(targets: tuple[Target, ...]) -> bool:
    """Tell whether the targets are those of one potential energy surface.

    Raises:
        ValueError: if they are a mixture, or of kinds that no one network gives.
    """
    names = [t.name for t in targets]
    family = [n for n in names if n in ENERGY_FAMILY]
    if family and len(family) != len(names):
        others = ", ".join(n for n in names if n not in family)
        raise ValueError(
            f"expected targets of one kind, got {', '.join(family)} together with {others}: train two models"
        )
    if family:
        return True
    kinds = sorted({t.kind for t in targets})
    if len(kinds) != 1 or kinds[0] not in _OUTPUTS:
        told = ", ".join(f"{t.name} ({t.kind})" for t in targets)
        raise ValueError(f"expected targets of one kind among {', '.join(_OUTPUTS)}, got {told}")
    return False


def network_config(
    config: TrainConfig, targets: tuple[Target, ...], averages: dict[str, float] | None
) -> EquiformerConfig:
    """Return the network's configuration: preset, output for the targets, averages of the data, and `config.model`."""
    changes: dict[str, Any] = dict(averages or {})
    if not is_energy_family(targets):
        changes |= {"output": _OUTPUTS[targets[0].kind], "num_outputs": len(targets)}
    for name in ("output", "num_outputs"):
        if name in config.model:
            raise ValueError(f"model.{name}: expected targets (read.targets) to decide it, got {config.model[name]!r}")
    _check_types(config.model)
    return preset_config(config.network, **{**changes, **config.model})


def _check_types(model: Mapping[str, Any]) -> None:
    """Raise a `ValueError` for a text where the network wants a number, and the like."""
    for name, value in model.items():
        default = getattr(EquiformerConfig, name, None)
        if isinstance(default, bool):
            fine, expected = isinstance(value, bool), "true or false"
        elif isinstance(default, int):
            fine, expected = _whole(value), "a whole number"
        elif isinstance(default, float):
            fine, expected = _whole(value) or isinstance(value, float), "a number"
        elif isinstance(default, tuple):
            fine = isinstance(value, (list, tuple)) and all(map(_whole, value))
            expected = f"a list of whole numbers such as {list(default)}"
        else:
            continue  # irreps and choices, which the network's configuration checks itself
        if not fine:
            raise ValueError(f"model.{name}: expected {expected}, got {value!r}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def build(config: TrainConfig, targets: tuple[Target, ...], statistics: Statistics) -> Plan:
    """Return the model, with weights drawn from torch's generator, and its loss.

    Args:
        config: settings of the run.
        targets: the labels.
        statistics: of the training set.

    Raises:
        ValueError: if the settings do not fit the targets or the data.
    """
    averages = statistics.averages() if config.averages == "data" else None
    settings = network_config(config, targets, averages)
    if unknown := sorted(set(statistics.elements) - set(settings.elements)):
        raise ValueError(
            f"the network {config.network!r} does not know the elements Z = {unknown} of the training set; give "
            f"model.elements={list(statistics.elements)} or another network"
        )
    if settings.edge_dim:
        raise ValueError(
            f"model.edge_dim: expected 0, as structures hold no edge_attr for their neighbours, got "
            f"{settings.edge_dim}; use num_edge_types with BondGraph, or train such a network in a loop of your own"
        )
    network = Equiformer(settings, checkpoint=config.checkpoint, engine=config.engine, compile=config.compile)
    make = _potential if is_energy_family(targets) else _properties
    model, scales, references = make(config, targets, statistics, network)
    terms = loss_terms(targets, scales, config.weight, config.loss, config.energy_per_atom)
    return Plan(model, terms, scales, references)


def _potential(
    config: TrainConfig, targets: tuple[Target, ...], statistics: Statistics, network: Equiformer
) -> tuple[EnergyForces | PropertyModel, dict[str, float], dict[int, float]]:
    names = [t.name for t in targets]
    references: dict[int, float] = {}
    shift = 0.0
    if keys.ENERGY in names and config.reference in ("auto", "elements"):
        references = statistics.element_references(keys.ENERGY)
    elif keys.ENERGY in names and config.reference == "mean":
        shift = statistics.labels[keys.ENERGY].mean
    scale = _energy_scale(config, names, statistics, references)
    model = EnergyForces(
        network,
        energy_scale=scale,
        energy_shift=shift,
        atomic_energies=references or None,
        stress=keys.STRESS in names,
    )
    return model, dict.fromkeys(names, scale), references


def _energy_scale(config: TrainConfig, names: list[str], statistics: Statistics, references: dict[int, float]) -> float:
    forces = statistics.labels[keys.FORCES].rms if keys.FORCES in names else 0.0
    spread = statistics.spread(keys.ENERGY, references) if keys.ENERGY in names else 0.0
    if config.scale == "forces" and keys.FORCES not in names:
        raise ValueError("scale: 'forces' needs forces among the targets, expected 'spread', 'none' or 'auto'")
    if config.scale == "spread" and keys.ENERGY not in names:
        raise ValueError("scale: 'spread' needs energies among the targets, expected 'forces', 'none' or 'auto'")
    order = {"auto": (forces, spread), "forces": (forces,), "spread": (spread,), "none": ()}[config.scale]
    return next((s for s in order if s > 0), 1.0)


def _properties(
    config: TrainConfig, targets: tuple[Target, ...], statistics: Statistics, network: Equiformer
) -> tuple[EnergyForces | PropertyModel, dict[str, float], dict[int, float]]:
    if config.scale == "forces":
        raise ValueError("scale: 'forces' needs forces among the targets, expected 'spread', 'none' or 'auto'")
    if config.reference == "elements" and targets[0].kind != "graph_scalar":
        raise ValueError(f"reference: 'elements' is for scalars of whole structures, got {targets[0].kind} targets")
    names = [t.name for t in targets]
    references: dict[int, list[float]] | None = None
    shifts, scales = [0.0] * len(names), [1.0] * len(names)
    if config.reference == "elements":
        fits = [statistics.element_references(name) for name in names]
        references = {z: [fit[z] for fit in fits] for z in statistics.elements}
    elif targets[0].kind.endswith("scalar") and config.reference in ("auto", "mean"):
        shifts = [statistics.labels[name].mean for name in names]
    if config.scale != "none":
        for k, name in enumerate(names):
            taken = None if references is None else {z: r[k] for z, r in references.items()}
            # A vector has no mean to take off: its own size is its spread.
            vector = targets[k].kind.endswith("vector")
            scales[k] = (statistics.labels[name].rms if vector else statistics.spread(name, taken)) or 1.0
    model = PropertyModel(
        network, names, scale=scales, shift=shifts, atomic_references=references, units=[t.unit for t in targets]
    )
    return model, dict(zip(names, scales)), {}
