"""Ranges of the settings of a training run."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from .losses import LossKind
from .published import published

if TYPE_CHECKING:
    from .config import TrainConfig

_COUNTS = ("epochs", "batch_size", "accumulate", "nodes", "threads", "validations", "checkpoint_every")
_COUNTS_OR_NONE = ("epochs", "threads", "checkpoint_every")
_BELOW_ONE = ("warmup", "ema_decay", "beta2")
_LOGGERS = ("tensorboard", "wandb")


def check_settings(config: "TrainConfig") -> None:
    """Raise a `ValueError` that names the first setting with a value outside its range."""
    check = _checker(config)
    check_loop_settings(config)
    for name in ("train_size", "max_edges"):
        value = getattr(config, name)
        check(name, value is None or (_whole(value) and value >= 1), "an integer >= 1 or null")
    seed = config.split_seed
    check("split_seed", seed is None or (_whole(seed) and 0 <= seed < 2**32), "an integer from 0 to 2^32 - 1")
    check("noise_std", _number(config.noise_std) and config.noise_std > 0, "a number > 0")
    check("noise_weight", _number(config.noise_weight) and config.noise_weight >= 0, "a number >= 0")
    for name in ("noise_probability", "noise_fraction"):
        check(name, _number(getattr(config, name)) and 0 <= getattr(config, name) <= 1, "a number from 0 to 1")
    check("test_fraction", _part(config.test_fraction), "a part from 0 to below 1, or a whole number of structures")
    check("energy_per_atom", isinstance(config.energy_per_atom, bool), "true or false")
    check("compile", isinstance(config.compile, bool), "true or false")
    _check_choices(config, check)


def check_loop_settings(config: Any) -> None:
    """Raise a `ValueError` that names the first setting of the loop with a value outside its range.

    Args:
        config: with the settings of `LoopSettings`, and `batch_size`, `threads`, `workers` and `valid_fraction`.
    """
    check = _checker(config)
    for name in _COUNTS:
        value = getattr(config, name)
        optional = name in _COUNTS_OR_NONE
        fine = (_whole(value) and value >= 1) or (optional and value is None)
        check(name, fine, "an integer >= 1" + (" or null" if optional else ""))
    check("workers", _whole(config.workers) and config.workers >= 0, "an integer >= 0")
    several = _whole(config.devices) and config.devices >= 1
    check("devices", config.devices == "auto" or several, "an integer >= 1 or 'auto'")
    check("seed", _whole(config.seed) and 0 <= config.seed < 2**32, "an integer from 0 to 2^32 - 1")
    check("learning_rate", _number(config.learning_rate) and config.learning_rate > 0, "a number > 0")
    check("weight_decay", _number(config.weight_decay) and config.weight_decay >= 0, "a number >= 0")
    for name in _BELOW_ONE:
        check(name, _number(getattr(config, name)) and 0 <= getattr(config, name) < 1, "a number from 0 to below 1")
    check("final_rate", _number(config.final_rate) and 0 <= config.final_rate <= 1, "a number from 0 to 1")
    check("valid_fraction", _part(config.valid_fraction), "a part from 0 to below 1, or a whole number of structures")
    clip, limit = config.gradient_clip, config.max_time
    check("gradient_clip", clip is None or (_number(clip) and clip > 0), "a number > 0 or null")
    check("max_time", limit is None or (_number(limit) and limit > 0), "seconds > 0 or None")
    for name in ("select", "precision"):
        check(name, getattr(config, name) in _choices()[name], f"one of {_choices()[name]}")
    check("loggers", _names(config.loggers) and set(config.loggers) <= set(_LOGGERS), f"some of {_LOGGERS}")
    if config.epochs is None and config.max_time is None:
        raise ValueError("epochs and max_time are both None, expected at least one end of the run")


def _checker(config: Any) -> Any:
    def check(name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"{name}: expected {expected}, got {getattr(config, name)!r}")

    return check


def _choices() -> dict[str, tuple[Any, ...]]:
    from .config import CHOICES

    return CHOICES


def _check_choices(config: "TrainConfig", check: Any) -> None:
    for name, allowed in _choices().items():
        check(name, getattr(config, name) in allowed, f"one of {allowed}")
    check("test", _names(config.test), "files or built-in data sets, by name")
    for name in ("data", "valid"):
        value = getattr(config, name)
        check(name, value is None or (isinstance(value, str) and value != ""), "a file or a built-in data set, by name")
    for name in ("data_root", "network"):
        check(name, isinstance(getattr(config, name), str) and getattr(config, name) != "", "a name")
    if config.compare is not None and not (isinstance(config.compare, str) and published(config.compare)):
        raise ValueError(
            f"compare: no published results are known of {config.compare!r}, expected a data set such as qm9:gap, "
            "rmd17:aspirin, 3bpa or acac"
        )
    for name, what in (
        ("model", "names and values of EquiformerConfig"),
        ("read", "names and values of ReadOptions"),
        ("weight", "a number >= 0 for each target, such as {energy: 1, forces: 100}"),
        ("loss", f"one of {get_args(LossKind)} for each target, such as {{energy: l1, forces: norm}}"),
    ):
        check(name, isinstance(getattr(config, name), Mapping), what)
    for target, value in config.weight.items():
        if not (_number(value) and value >= 0):
            raise ValueError(f"weight.{target}: expected a number >= 0, got {value!r}")
    for target, kind in config.loss.items():
        if kind not in get_args(LossKind):
            raise ValueError(f"loss.{target}: expected one of {get_args(LossKind)}, got {kind!r}")


def _names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _part(value: Any) -> bool:
    return _number(value) and (0 <= value < 1 or (value >= 1 and value == int(value)))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
