"""Settings of a training of `EquiFold`."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..training.config_checks import check_loop_settings
from ..training.whole_files import whole_file
from .config import EquiFoldConfig, fold_config
from .loss import FoldLoss

KIND = "fold"  #: tells the config.yaml of such a run from others


@dataclass(frozen=True)
class FoldTrainConfig:
    """Settings of a training; the loop is that of `TrainConfig`, whose names mean the same here.

    Args:
        structures: PDB, mmCIF or .npz files, or folders of them.
        valid: files of structures to watch the training with; none takes `valid_fraction` of the chains.
        valid_fraction: part of the chains, or number of them, that is set apart, none related to those that are left.
        identity: sequence identity from which chains are related.
        templates: further files that shapes of the groups are measured on, where the structures lack amino acids.
        preset: "equifold", "antibody" (published with `clamp` 30 and `violation_weight` 0.2) or "small".
        model: values that replace those of the preset, by their name in `EquiFoldConfig`.
        crop: longest piece of a protein that is trained on, in residues; None: whole proteins.
        clamp: of the frame-aligned error in Å; None: none.
        violation_weight: of the structural violations.
        violation_start: part of the run after which they count, fully at its end.
        confidence_weight: of the confidence.
        local_weight: of the error of groups that are near along the chain, see `FoldLoss`.
        interpolate: part of the run in which start frames move from the true ones to those of the model.
        mixed_starts: part of the steps that begin anywhere on the way from the true frames to those of the model; a
            model that learnt this comes nearer in several passes, so predict with `recycles`.
        seed, epochs, max_time, batch_size, accumulate, learning_rate, warmup, final_rate, beta2, weight_decay,
            gradient_clip, ema_decay, select, precision, devices, nodes, threads, workers, validations,
            checkpoint_every, loggers: see `TrainConfig`.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        >>> FoldTrainConfig(epochs=3).fold_config().blocks
        3
    """

    structures: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    valid_fraction: float = 0.2
    identity: float = 0.3
    templates: tuple[str, ...] = ()
    preset: str = "small"
    model: Mapping[str, Any] = field(default_factory=dict)
    crop: int | None = 128
    clamp: float | None = 30.0
    violation_weight: float = 0.5
    violation_start: float = 0.5
    confidence_weight: float = 0.01
    local_weight: float = 0.0
    interpolate: float = 0.0
    mixed_starts: float = 0.0
    seed: int = 0
    epochs: int | None = None
    max_time: float | None = 1200.0
    batch_size: int = 1
    accumulate: int = 1
    learning_rate: float = 2e-3
    warmup: float = 0.02
    final_rate: float = 0.01
    beta2: float = 0.98
    weight_decay: float = 0.0
    gradient_clip: float | None = 1.0
    ema_decay: float = 0.995
    select: Literal["last", "best"] = "last"
    precision: Literal["float32", "tf32", "bf16", "float64"] = "float32"
    devices: int | Literal["auto"] = 1
    nodes: int = 1
    threads: int | None = 1
    workers: int = 0
    validations: int = 10
    checkpoint_every: int | None = None
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        for name in ("structures", "valid", "templates", "loggers"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else value or ()
            object.__setattr__(self, name, tuple(map(str, value)))
        object.__setattr__(
            self, "model", {k: list(v) if isinstance(v, tuple) else v for k, v in dict(self.model).items()}
        )
        check_loop_settings(self)
        for name in ("violation_start", "interpolate", "mixed_starts", "identity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)!r}")
        if self.crop is not None and self.crop < 3:
            raise ValueError(f"crop: expected at least 3 residues, or null, got {self.crop!r}")
        self.loss()
        self.fold_config()

    def fold_config(self) -> EquiFoldConfig:
        """Return the settings of the model."""
        return fold_config(self.preset, **self.model)

    def loss(self) -> FoldLoss:
        """Return the loss."""
        weights = {name: getattr(self, name) for name in ("violation_weight", "confidence_weight", "local_weight")}
        return FoldLoss(self.clamp, **weights)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for YAML."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FoldTrainConfig":
        """Return the configuration with these settings.

        Raises:
            ValueError: if a name is not a setting.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names)}"
                raise ValueError(f"unknown setting {name!r}; {hint}")
        return cls(**values)

    def write(self, path: str | Path) -> None:
        """Write the settings as YAML."""
        import yaml  # comes with Lightning

        text = yaml.safe_dump({"kind": KIND, **self.to_dict()}, sort_keys=False, allow_unicode=True)
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "FoldTrainConfig":
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is that of another kind of run, or a name or value is wrong.
        """
        from ..training.config import read_yaml

        values = read_yaml(path)
        if values.pop("kind", None) != KIND:
            raise ValueError(f"{path}: expected the settings of a run of `fold train`, got those of another")
        return cls.from_dict(values)
