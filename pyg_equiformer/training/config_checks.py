"""Ranges of the settings of a training run."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from .losses import LossKind
from .published import published

if TYPE_CHECKING:
    from .config import TrainConfig

_COUNTS = ("train_size", "epochs", "batch_size", "max_edges", "accumulate", "nodes", "threads", "validations")
_COUNTS_OR_NONE = ("train_size", "epochs", "max_edges", "threads", "checkpoint_every")
_POSITIVE = ("learning_rate", "noise_std")
_NOT_NEGATIVE = ("weight_decay", "noise_weight")
_BELOW_ONE = ("warmup", "ema_decay", "beta2")
_LOGGERS = ("tensorboard", "wandb")


def check_settings(config: "TrainConfig") -> None:
    """Raise a `ValueError` that names the first setting with a value outside its range."""

    def check(name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"{name}: expected {expected}, got {getattr(config, name)!r}")

    for name in (*_COUNTS, "checkpoint_every"):
        value = getattr(config, name)
        optional = name in _COUNTS_OR_NONE
        fine = (_whole(value) and value >= 1) or (optional and value is None)
        check(name, fine, "an integer >= 1" + (" or null" if optional else ""))
    check("workers", _whole(config.workers) and config.workers >= 0, "an integer >= 0")
    check(
        "devices",
        config.devices == "auto" or (_whole(config.devices) and config.devices >= 1),
        "an integer >= 1 or 'auto'",
    )
    for name in ("seed", "split_seed"):
        value = getattr(config, name)
        fine = (_whole(value) and 0 <= value < 2**32) or (name == "split_seed" and value is None)
        check(name, fine, "an integer from 0 to 2^32 - 1")
    for name in _POSITIVE:
        check(name, _number(getattr(config, name)) and getattr(config, name) > 0, "a number > 0")
    for name in _NOT_NEGATIVE:
        check(name, _number(getattr(config, name)) and getattr(config, name) >= 0, "a number >= 0")
    for name in _BELOW_ONE:
        check(name, _number(getattr(config, name)) and 0 <= getattr(config, name) < 1, "a number from 0 to below 1")
    for name in ("final_rate", "noise_probability", "noise_fraction"):
        check(name, _number(getattr(config, name)) and 0 <= getattr(config, name) <= 1, "a number from 0 to 1")
    for name in ("valid_fraction", "test_fraction"):
        value = getattr(config, name)
        fine = _number(value) and (0 <= value < 1 or (value >= 1 and value == int(value)))
        check(name, fine, "a part from 0 to below 1, or a whole number of structures")
    check(
        "gradient_clip",
        config.gradient_clip is None or (_number(config.gradient_clip) and config.gradient_clip > 0),
        "a number > 0 or null",
    )
    check(
        "max_time", config.max_time is None or (_number(config.max_time) and config.max_time > 0), "seconds > 0 or None"
    )
    check("energy_per_atom", isinstance(config.energy_per_atom, bool), "true or false")
    check("compile", isinstance(config.compile, bool), "true or false")
    _check_choices(config, check)
    if config.epochs is None and config.max_time is None:
        raise ValueError("epochs and max_time are both None, expected at least one end of the run")


def _check_choices(config: "TrainConfig", check: Any) -> None:
    from .config import CHOICES

    for name, allowed in CHOICES.items():
        check(name, getattr(config, name) in allowed, f"one of {allowed}")
    check("loggers", _names(config.loggers) and set(config.loggers) <= set(_LOGGERS), f"some of {_LOGGERS}")
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


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
