"""The file of a trained `EquiFold`."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints import atomic_save
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
    state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
    content = {"format": FORMAT, "version": VERSION, "config": model.config.to_dict(), "state_dict": state}
    atomic_save({**content, "avg_degree": model.avg_degree, "extra": extra}, path)


def load_fold_model(path: str | Path) -> EquiFold:
    """Return the model in a file, or in a run's folder, in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a model.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "model.pt").is_file():
            raise FileNotFoundError(f"there is no model.pt in {path}, expected the folder of a run of `fold train`")
        path = path / "model.pt"
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no model of `fold train`")
    if content["version"] > VERSION:
        raise ValueError(f"{path} has format version {content['version']}, this package reads up to {VERSION}")
    state: dict[str, Tensor] = content["state_dict"]
    templates = Templates(state["shapes"], state["seen"])
    model = EquiFold(EquiFoldConfig.from_dict(content["config"]), templates, content["avg_degree"])
    model.to(state["shapes"].dtype).load_state_dict(state)
    return model.eval()
