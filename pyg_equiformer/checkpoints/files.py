"""Our own checkpoint files.

Version 1 held an `Equiformer` or an `EnergyForces`, the numbers of the latter as "energy". Version 2 holds any model,
its numbers as "settings", and an `Ensemble` as a list of such models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..models import EnergyForces, Ensemble, Equiformer, EquiformerConfig, PropertyModel
from .atomic import atomic_save
from .official import read_torch_file

FORMAT = "pyg_equiformer model"
VERSION = 2

Model = Equiformer | EnergyForces | PropertyModel | Ensemble


def save_model(path: str | Path, model: Model, **extra: Any) -> None:
    """Write a model with its config to one file, whole or not at all; it loads with `weights_only=True`.

    Args:
        path: the file.
        model: `Equiformer`, `EnergyForces`, `PropertyModel` or `Ensemble`.
        **extra: plain values (numbers, strings, lists, dicts, tensors) kept beside it, such as units.

    Raises:
        ValueError: for another class.
        OSError: if the file cannot be written, naming it; a former file is then as it was.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "model.pt")
        >>> save_model(path, Equiformer.from_preset("small"), note="untrained")
        >>> load_model(path).config.num_layers == Equiformer.from_preset("small").config.num_layers
        True
    """
    if isinstance(model, Ensemble):
        content: dict[str, Any] = {"class": "Ensemble", "members": [_content(member) for member in model.models]}
    else:
        content = _content(model)
    atomic_save({"format": FORMAT, "version": VERSION, **content, "extra": extra}, path)


def _content(model: Any) -> dict[str, Any]:
    if type(model) not in (Equiformer, EnergyForces, PropertyModel):
        raise ValueError(
            "only Equiformer, EnergyForces, PropertyModel and Ensemble can be saved, with their config; got "
            f"{type(model).__name__}, whose state_dict torch.save can write"
        )
    network = model if isinstance(model, Equiformer) else model.model
    return {
        "class": type(model).__name__,
        "config": network.config.to_dict(),
        "settings": _settings(model),
        "state_dict": {k: v.detach().cpu() for k, v in network.state_dict().items()},
    }


def _settings(model: Any) -> dict[str, Any]:
    """Return the arguments of a wrapped network's wrapper, as plain values."""
    if isinstance(model, EnergyForces):
        return {
            "energy_scale": model.energy_scale,
            "energy_shift": model.energy_shift,
            "atomic_energies": model.atomic_energies,
            "stress": model.stress,
        }
    if isinstance(model, PropertyModel):
        references = model.atomic_references
        return {
            "names": list(model.names),
            "scale": list(model.scale),
            "shift": list(model.shift),
            "atomic_references": None if references is None else {z: list(r) for z, r in references.items()},
            "units": list(model.units),
        }
    return {}


def load_model(path: str | Path, config: EquiformerConfig | None = None) -> Any:
    """Return the model in a file, in the precision it was saved in and in evaluation mode.

    Args:
        path: a file written by `save_model`.
        config: what the model (each member of an ensemble) is expected to be; None: any.

    Raises:
        ValueError: if the file is not such a checkpoint, or holds a model of another config.
    """
    content = _read(path)
    if content["version"] > VERSION:
        raise ValueError(f"{path} has format version {content['version']}, this package reads up to {VERSION}")
    if content["class"] == "Ensemble":
        return Ensemble([_build(path, member, config) for member in content["members"]]).eval()
    return _build(path, content, config).eval()


def _read(path: str | Path) -> dict[str, Any]:
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of pyg_equiformer (load_official reads those of the published code)"
        )
    return content


def _build(path: str | Path, content: Mapping[str, Any], config: EquiformerConfig | None) -> Any:
    saved = EquiformerConfig.from_dict(content["config"])
    if config is not None and config != saved:
        ours, theirs = config.to_dict(), saved.to_dict()
        differ = [f"{k}: {theirs[k]!r} in the file, {ours[k]!r} expected" for k in ours if ours[k] != theirs[k]]
        raise ValueError(f"{path} holds a model of another config: " + "; ".join(differ))
    network = Equiformer(saved)
    state: dict[str, Tensor] = content["state_dict"]
    network.to(next(v.dtype for v in state.values() if v.is_floating_point()))
    _check_fit(path, state, network.state_dict())
    network.load_state_dict(state)
    settings = content["settings"] if "settings" in content else content["energy"] or {}
    wrappers = {"Equiformer": None, "EnergyForces": EnergyForces, "PropertyModel": PropertyModel}
    if content["class"] not in wrappers:
        raise ValueError(f"{path} holds a {content['class']!r}, expected one of {[*wrappers, 'Ensemble']}")
    wrapper = wrappers[content["class"]]
    return network if wrapper is None else wrapper(network, **settings)


def _check_fit(path: str | Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise a short ValueError unless names and shapes agree."""
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    wrong = [k for k in expected if k in found and found[k].shape != expected[k].shape]
    if missing or extra or wrong:
        raise ValueError(
            f"the weights in {path} do not fit its config: {len(missing)} missing {missing[:2]}, "
            f"{len(extra)} unexpected {extra[:2]}, {len(wrong)} of another shape {wrong[:2]}"
        )


def read_extra(path: str | Path) -> dict[str, Any]:
    """Return the values that were saved beside a model."""
    return dict(_read(path)["extra"])
