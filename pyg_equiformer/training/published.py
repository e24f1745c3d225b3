"""Published test errors of other models."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class PublishedResult:
    """Test errors of one model on one data set.

    Args:
        model: name of the model.
        values: error and its unit, by name: "energy_mae", "forces_rmse", "gap_mae", …
        protocol: what was trained and tested on.
        source: where the numbers are from.
    """

    model: str
    values: Mapping[str, tuple[float, str]]
    protocol: str
    source: str


def published(name: str) -> list[PublishedResult]:
    """Return published test errors on a data set, none where none are known.

    Args:
        name: name of the data set: "qm9:gap", "rmd17:aspirin", "3bpa", "acac".

    Raises:
        ImportError: if PyYAML is not installed.

    Example:
        >>> first = published("qm9:gap")[0]
        >>> first.model, first.values
        ('Equiformer', {'gap_mae': (30.0, 'meV')})
        >>> published("my_molecules")
        []
    """
    family, _, member = name.partition(":")
    table = _tables().get(family)
    if table is None:
        return []
    if table["members"] != bool(member):
        return []
    found = []
    for entry in table["models"]:
        kind, units = entry.get("kind", table["kind"]), table["units"]
        values = {f"{k}_{kind}": (float(v), units[k]) for k, v in _select(entry["values"], member).items()}
        if values:
            protocol = entry.get("protocol", table["protocol"])
            found.append(PublishedResult(entry["model"], values, protocol, entry["source"]))
    return found


def _select(values: Mapping[str, Any], member: str) -> Mapping[str, float]:
    """Return the errors by target of a member of a data set: a molecule, a target, or "" for one without members."""
    chosen = values.get(member, {}) if member else values
    if isinstance(chosen, Mapping):
        return chosen
    return {member: chosen}


@cache
def _tables() -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ImportError('published results need PyYAML: pip install "pyg_equiformer[train]"') from error
    return yaml.safe_load((files(__package__) / "published.yaml").read_text(encoding="utf-8"))
