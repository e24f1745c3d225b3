"""What a model to pass on is made of: from a model in memory, the folder of a run, or a file of either."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from torch import nn

from .. import __version__
from ..checkpoints import find_model, model_content, model_from_content, read_pretrained
from ..checkpoints.files import FORMAT
from ..checkpoints.official import read_torch_file
from ..folding import EquiFold
from ..folding.saving import FORMAT as FOLD_FORMAT
from ..folding.saving import fold_content, fold_from_content

METRICS = "metrics.json"
_PATHS = ("data", "valid", "test", "data_root", "structures")


def content_of(source: nn.Module | str | Path, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what describes a model, of which the folder of a run tells its errors too.

    Args:
        source: a model, or where one is: the folder of a run, its `model.pt`, or a folder to pass on.
        extra: plain values, added to those that are there.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a model or a file of another kind, or one that is not whole.
    """
    if isinstance(source, nn.Module):
        make: Any = fold_content if isinstance(source, EquiFold) else model_content
        content: dict[str, Any] = make(source, extra)
        return content
    path = Path(source)
    file = find_model(path)
    content = read_pretrained(file) if file.is_dir() else read_torch_file(file)
    build(path, content)  # what does not load is not passed on
    content = {**content, "package": content.get("package", __version__)}
    told = dict(content.get("extra") or {})
    if "training" in told:
        told["training"] = without_folders(told["training"])
    if path.is_dir() and (path / METRICS).is_file():
        sets = json.loads((path / METRICS).read_text())
        told["errors"] = _errors(sets)
        told["run"] = {k: v for k, v in sets.get("run", {}).items() if k in ("handed_over", "training_structures")}
    return {**content, "extra": {**told, **extra}}


def build(path: str | Path, content: Any) -> Any:
    """Return the model that such a content describes, in evaluation mode.

    Raises:
        ValueError: if it is of another kind, or does not fit itself.
    """
    kind = content.get("format") if isinstance(content, dict) else None
    builders: dict[Any, Any] = {FORMAT: model_from_content, FOLD_FORMAT: fold_from_content}
    if kind not in builders:
        raise ValueError(f"{path} holds no model of pyg_equiformer, expected one of {list(builders)}, got {kind!r}")
    return builders[kind](path, content)


def without_folders(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training with the names of files only: where they lay is nobody else's business.

    Example:
        >>> without_folders({"data": "/home/ada/water.xyz", "test": ["a/b.xyz"], "epochs": 3})
        {'data': 'water.xyz', 'test': ['b.xyz'], 'epochs': 3}
    """
    return {k: _name(v) if k in _PATHS else v for k, v in training.items()}


def _name(value: Any) -> Any:
    if isinstance(value, str):
        return PureWindowsPath(PurePath(value).name).name or value
    return [_name(v) for v in value] if isinstance(value, (list, tuple)) else value


def _errors(sets: dict[str, Any]) -> dict[str, Any]:
    """Return the errors of each set in the metrics of a run: {"value", "unit"} by name."""
    found = {name: {k: v for k, v in each.items() if _is_metric(v)} for name, each in sets.items() if name != "run"}
    return {name: each for name, each in found.items() if each}


def _is_metric(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"value", "unit"}
