"""Our own checkpoint files."""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models import EnergyForces, Equiformer, EquiformerConfig
from .official import read_torch_file

FORMAT = "pyg_equiformer model"
VERSION = 1


def save_model(path: str | Path, model: Equiformer | EnergyForces, **extra: Any) -> None:
    """Write a model with its config to one file, whole or not at all; it loads with `weights_only=True`.

    Args:
        path: the file.
        model: `Equiformer` or `EnergyForces`.
        **extra: plain values (numbers, strings, lists, dicts, tensors) kept beside it, such as units.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "model.pt")
        >>> save_model(path, Equiformer.from_preset("small"), note="untrained")
        >>> load_model(path).config.num_layers == Equiformer.from_preset("small").config.num_layers
        True
    """
    network = model.model if isinstance(model, EnergyForces) else model
    content = {
        "format": FORMAT,
        "version": VERSION,
        "class": type(model).__name__,
        "config": network.config.to_dict(),
        "energy": None,
        "state_dict": {k: v.detach().cpu() for k, v in network.state_dict().items()},
        "extra": extra,
    }
    if isinstance(model, EnergyForces):
        content["energy"] = {
            "energy_scale": model.energy_scale,
            "energy_shift": model.energy_shift,
            "atomic_energies": model.atomic_energies,
        }
    path = Path(path)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())  # temporary files are private, a checkpoint is not
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_model(path: str | Path, config: EquiformerConfig | None = None) -> Any:
    """Return the model in a file, in the precision it was saved in and in evaluation mode.

    Args:
        path: a file written by `save_model`.
        config: what the model is expected to be; None: any.

    Raises:
        ValueError: if the file is not such a checkpoint, or holds a model of another config.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of pyg_equiformer (load_official reads those of the published code)"
        )
    if content["version"] > VERSION:
        raise ValueError(f"{path} has format version {content['version']}, this package reads up to {VERSION}")
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
    if content["class"] == "EnergyForces":
        return EnergyForces(network, **content["energy"]).eval()
    return network.eval()


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
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a checkpoint of pyg_equiformer")
    return dict(content["extra"])
