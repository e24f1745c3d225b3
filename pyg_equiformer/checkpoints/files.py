"""Our own checkpoint files.

Version 1 held an `Equiformer` or an `EnergyForces`, the numbers of the latter as "energy". Version 2 holds any model,
its numbers as "settings", and an `Ensemble` as a list of such models. A folder to pass on holds the same in other kinds
of files, see `pretrained`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import __version__
from ..models import EnergyForces, Ensemble, Equiformer, EquiformerConfig, PropertyModel
from .atomic import atomic_save
from .official import read_torch_file
from .pretrained import is_pretrained, read_pretrained

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
    atomic_save(model_content(model, extra), path)


def model_content(model: Model, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that describes a model, and plain values beside it, as `save_model` writes it.

    Raises:
        ValueError: for another class.
    """
    if isinstance(model, Ensemble):
        content: dict[str, Any] = {"class": "Ensemble", "members": [_content(member) for member in model.models]}
    else:
        content = _content(model)
    return {"format": FORMAT, "version": VERSION, "package": __version__, **content, "extra": dict(extra)}


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
        path: a file written by `save_model`, or a folder that `hub.save_pretrained` wrote.
        config: what the model (each member of an ensemble) is expected to be; None: any.

    Raises:
        ValueError: if the file is not such a checkpoint, or holds a model of another config.
    """
    return model_from_content(path, _read(path), config)


def model_from_content(path: str | Path, content: Mapping[str, Any], config: EquiformerConfig | None = None) -> Any:
    """Return the model that `model_content` described, in evaluation mode; `path` is named where something is wrong.

    Raises:
        ValueError: for a newer format, or parts that are missing or do not fit each other.
    """
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        made = f" (made by pyg_equiformer {content['package']})" if "package" in content else ""
        raise ValueError(
            f"{path} has format version {content.get('version')}{made}, this package reads up to {VERSION}"
        )
    if content.get("class") == "Ensemble":
        members = _needed(path, content, "members")
        return Ensemble([_build(path, member, config) for member in members]).eval()
    return _build(path, content, config).eval()


def _needed(path: str | Path, content: Mapping[str, Any], name: str) -> Any:
    if name not in content:
        raise ValueError(f"{path} has no {name!r}, it is not whole")
    return content[name]


def _read(path: str | Path) -> dict[str, Any]:
    content = read_pretrained(path) if is_pretrained(path) else read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of pyg_equiformer (load_official reads those of the published code)"
        )
    return content


def _build(path: str | Path, content: Mapping[str, Any], config: EquiformerConfig | None) -> Any:
    saved = EquiformerConfig.from_dict(_needed(path, content, "config"))
    if config is not None and config != saved:
        ours, theirs = config.to_dict(), saved.to_dict()
        differ = [f"{k}: {theirs[k]!r} in the file, {ours[k]!r} expected" for k in ours if ours[k] != theirs[k]]
        raise ValueError(f"{path} holds a model of another config: " + "; ".join(differ))
    network = Equiformer(saved)
    state: dict[str, Tensor] = _needed(path, content, "state_dict")
    _check_fit(path, state, network.state_dict())
    network.to(next(v.dtype for v in state.values() if v.is_floating_point()))
    network.load_state_dict(state)
    settings = content["settings"] if "settings" in content else _needed(path, content, "energy") or {}
    wrappers = {"Equiformer": None, "EnergyForces": EnergyForces, "PropertyModel": PropertyModel}
    if content.get("class") not in wrappers:
        raise ValueError(f"{path} holds a {content.get('class')!r}, expected one of {[*wrappers, 'Ensemble']}")
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
    """Return the values that were saved beside a model, in its file or its folder."""
    return dict(_needed(path, _read(path), "extra"))
