"""The file of a trained `EquiFold`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints import atomic_save, is_pretrained, read_pretrained
from ..checkpoints.official import read_torch_file
from .config import EquiFoldConfig
from .equifold import EquiFold
from .templates import Templates

FORMAT = "pyg_equiformer EquiFold"
VERSION = 1


def save_fold_model(path: str | Path, model: EquiFold, **extra: Any) -> None:
    """Write a model with its settings and templates to one file, whole or not at all.

    Args:
        path: the file.
        model: the model.
        **extra: plain values kept beside it.

    Raises:
        OSError: if the file cannot be written, naming it.
    """
    atomic_save(fold_content(model, extra), path)


def fold_content(model: EquiFold, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that describes a model, and plain values beside it, as `save_fold_model` writes it."""
    state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
    content = {"format": FORMAT, "version": VERSION, "config": model.config.to_dict(), "state_dict": state}
    return {**content, "avg_degree": model.avg_degree, "extra": dict(extra)}


def load_fold_model(path: str | Path) -> EquiFold:
    """Return the model in a file, in a run's folder, or in one to pass on (`hub`), in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a model.
    """
    path = Path(path)
    if is_pretrained(path):
        return fold_from_content(path, read_pretrained(path))
    if path.is_dir():
        if not (path / "model.pt").is_file():
            raise FileNotFoundError(f"there is no model.pt in {path}, expected the folder of a run of `fold train`")
        path = path / "model.pt"
    return fold_from_content(path, read_torch_file(path))


def fold_from_content(path: str | Path, content: Any) -> EquiFold:
    """Return the model that `fold_content` described, in evaluation mode; `path` is named where something is wrong.

    Raises:
        ValueError: for another kind of content, a newer format, or weights that do not fit.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no model of `fold train`")
    if content["version"] > VERSION:
        raise ValueError(f"{path} has format version {content['version']}, this package reads up to {VERSION}")
    if lost := {"config", "state_dict", "avg_degree"} - set(content):
        raise ValueError(f"{path} has no {sorted(lost)[0]!r}, it is not whole")
    state: dict[str, Tensor] = content["state_dict"]
    if not {"shapes", "seen"} <= set(state):
        raise ValueError(f"{path} has no templates of the groups, it is not whole")
    templates = Templates(state["shapes"], state["seen"])
    model = EquiFold(EquiFoldConfig.from_dict(content["config"]), templates, content["avg_degree"])
    try:
        model.to(state["shapes"].dtype).load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit its config: {error}") from error
    return model.eval()
