"""Everything that decides a training run, in one frozen dataclass that is written beside the results."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .losses import EnergyLoss, ForceLoss

Averages = Literal["data", "preset"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the defaults are the recipe for the bundled sample.

    Args:
        preset: name of the network's preset, see `Equiformer.from_preset`.
        model: values that replace those of the preset, by their name in `EquiformerConfig`.
        averages: where `avg_num_nodes` and `avg_degree` come from, unless `model` has them: `"data"` for those
            of the training structures, `"preset"` for those that the preset was published with.
        seed: seed of the initial weights, the split and the order of the data.
        epochs: passes over the training structures; None leaves the end to `max_time`.
        max_time: longest time of the training loop in seconds, or None for no limit; the learning rate falls
            to its end within it. Runs that follow the clock are not repeatable to the last digit.
        batch_size: structures per step.
        valid_fraction: part of the training structures that is kept apart to watch the training.
        test_fraction: part of the structures that is kept apart for the test where no test set is given.
        learning_rate: the highest learning rate, reached after the warm-up.
        warmup: part of the run in which the learning rate rises from 0.
        final_rate: the fraction of `learning_rate` that the cosine ends with.
        beta2: decay of AdamW's average of squared gradients.
        weight_decay: of AdamW; not applied to biases, norms and other one-dimensional parameters.
        gradient_clip: largest norm of the gradient of all parameters.
        ema_decay: decay per step of the averaged weights, which are those tested and saved.
        energy_weight: weight of the energy error in the loss.
        forces_weight: weight of the force error in the loss.
        energy_loss: `"l1"` or `"mse"`, see `losses.energy_loss`.
        force_loss: `"norm"`, `"l1"` or `"mse"`, see `losses.force_loss`.
        validations: how often the validation set is evaluated during the run.
        threads: CPU threads of PyTorch, or None for its own choice. For batches as small as the sample's, two
            threads gain a tenth on a quiet machine and lose a factor on a busy one.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        >>> config = TrainConfig(seed=1, epochs=3)
        >>> TrainConfig.from_dict(config.to_dict()) == config
        True
    """

    preset: str = "small"
    model: Mapping[str, Any] = field(default_factory=dict)
    averages: Averages = "data"
    seed: int = 0
    epochs: int | None = 16
    max_time: float | None = None
    batch_size: int = 5
    valid_fraction: float = 0.05
    test_fraction: float = 0.2
    learning_rate: float = 2e-3
    warmup: float = 0.02
    final_rate: float = 0.01
    beta2: float = 0.98
    weight_decay: float = 1e-6
    gradient_clip: float = 10.0
    ema_decay: float = 0.995
    energy_weight: float = 1.0
    forces_weight: float = 100.0
    energy_loss: EnergyLoss = "l1"
    force_loss: ForceLoss = "norm"
    validations: int = 12
    threads: int | None = 1

    def __post_init__(self) -> None:
        if isinstance(self.model, Mapping):
            # Lists, as they come back from YAML.
            plain = {k: list(v) if isinstance(v, tuple) else v for k, v in self.model.items()}
            object.__setattr__(self, "model", plain)
        for name in ("epochs", "batch_size", "validations", "threads"):
            value = getattr(self, name)
            fine = (isinstance(value, int) and value >= 1) or (name in ("epochs", "threads") and value is None)
            self._check(name, fine, "an integer >= 1")
        self._check("seed", isinstance(self.seed, int) and 0 <= self.seed < 2**32, "an integer from 0 to 2^32 - 1")
        for name in ("learning_rate", "gradient_clip"):
            self._check(name, getattr(self, name) > 0, "a number > 0")
        for name in ("energy_weight", "forces_weight", "weight_decay"):
            self._check(name, getattr(self, name) >= 0, "a number >= 0")
        for name in ("valid_fraction", "test_fraction", "warmup", "ema_decay", "beta2"):
            self._check(name, 0 <= getattr(self, name) < 1, "a number from 0 to below 1")
        self._check("final_rate", 0 <= self.final_rate <= 1, "a number from 0 to 1")
        self._check("max_time", self.max_time is None or self.max_time > 0, "seconds > 0 or None")
        self._check("averages", self.averages in get_args(Averages), f"one of {get_args(Averages)}")
        self._check("energy_loss", self.energy_loss in get_args(EnergyLoss), f"one of {get_args(EnergyLoss)}")
        self._check("force_loss", self.force_loss in get_args(ForceLoss), f"one of {get_args(ForceLoss)}")
        self._check("model", isinstance(self.model, Mapping), "names and values of EquiformerConfig")
        if self.epochs is None and self.max_time is None:
            raise ValueError("epochs and max_time are both None, expected at least one end of the run")
        if self.energy_weight == self.forces_weight == 0:
            raise ValueError("energy_weight and forces_weight are both 0, expected at least one above 0")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain numbers, strings and dicts, ready for YAML."""
        return {**dataclasses.asdict(self), "model": dict(self.model)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Build a configuration from `to_dict`'s output or a part of it.

        Raises:
            ValueError: if a name is not a setting.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"expected one of {names}"
                raise ValueError(f"unknown training setting {name!r}; {hint}")
        return cls(**values)

    def write(self, path: str | Path) -> None:
        """Write the settings as YAML."""
        import yaml  # comes with Lightning

        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))
