"""From a recipe, a settings file and what was typed to the settings of a run."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .config import TrainConfig, read_yaml

#: Folder of the recipes that come with the package, one readable YAML file each.
RECIPES = Path(str(resources.files(__package__))) / "recipes"

#: Settings that hold names and values of their own: given ones are merged, not replaced.
_NESTED = ("read", "model", "weight", "loss")


def recipe_names() -> list[str]:
    """Return the names of the recipes.

    Example:
        >>> recipe_names()
        ['3bpa', 'md17', 'md17_l3', 'qm9', 'rmd17', 'small']
    """
    return sorted(p.stem for p in RECIPES.glob("*.yaml"))


def load_recipe(name: str, data: str | None = None) -> dict[str, Any]:
    """Return the settings of a recipe, with the changes that it makes for a data set.

    Args:
        name: of the recipe.
        data: what is trained on, such as "qm9:u0"; upper and lower case alike.

    Raises:
        ValueError: if there is no such recipe.

    Example:
        >>> load_recipe("qm9", "qm9:u0")["epochs"], load_recipe("qm9", "qm9:gap")["epochs"]
        (600, 300)
    """
    if name not in recipe_names():
        near = difflib.get_close_matches(name, recipe_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"there is no preset {name!r}, expected one of {', '.join(recipe_names())}{hint}")
    return _for_data(read_yaml(RECIPES / f"{name}.yaml"), data)


def _for_data(values: Mapping[str, Any], data: str | None) -> dict[str, Any]:
    """Settings of a recipe or a copy of one, with the changes that it makes for a data set."""
    variants = values.get("variants") or {}
    kept = {k: v for k, v in values.items() if k not in ("source", "variants")}
    return merge(kept, variants.get((data or "").lower(), {}))


def default_recipe(data: str | None) -> str:
    """Return the recipe for data: the published one for a built-in set, else `"small"`.

    Example:
        >>> default_recipe("md17:aspirin"), default_recipe("mine.xyz")
        ('md17', 'small')
    """
    family = (data or "").split(":")[0].lower()
    return family if ":" in (data or "") and family in recipe_names() else "small"


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with some replaced; those that hold names and values of their own are merged.

    Example:
        >>> merge({"weight": {"energy": 1}, "seed": 0}, {"weight": {"forces": 80}})
        {'weight': {'energy': 1, 'forces': 80}, 'seed': 0}
    """
    merged = dict(values)
    for name, value in changes.items():
        if name in _NESTED and isinstance(value, Mapping):
            merged[name] = {**(merged.get(name) or {}), **value}
            if name == "read":
                # One level more: names and units are by label.
                for key, old in (values.get(name) or {}).items():
                    if isinstance(old, Mapping) and isinstance(value.get(key), Mapping):
                        merged[name][key] = {**old, **value[key]}
        else:
            merged[name] = value
    return merged


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` settings as typed on the command line; dots reach into settings, values are YAML.

    The labels to train on and how files are read may be given without `read.`: `targets=gap units.gap=hartree`.

    Args:
        texts: such as "weight.forces=50", "model.num_layers=3", "targets=energy,forces".

    Raises:
        ValueError: if a text has no "=", or names no setting.

    Example:
        >>> parse_assignments(["weight.forces=50", "targets=homo,lumo"])
        {'weight': {'forces': 50}, 'read': {'targets': ['homo', 'lumo']}}
    """
    from .sources import READ_SETTINGS

    names = [f.name for f in dataclasses.fields(TrainConfig)]
    settings: dict[str, Any] = {}
    for text in texts:
        path, typed = _parted(text)
        name = ".".join(path)
        if path[0] in READ_SETTINGS:
            path = ["read", *path]
        if path[0] not in names or (len(path) > 1 and path[0] not in _NESTED):
            near = difflib.get_close_matches(path[0], [*names, *READ_SETTINGS], n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near and path[0] not in names else ""
            raise ValueError(f"there is no setting {name!r}{hint} (train --settings explains them all)")
        _put(settings, path, _value(typed, path), text)
    return settings


def parse_settings(texts: Sequence[str], names: Sequence[str], nested: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` settings of another command; dots reach into those that hold names and values of their own.

    Args:
        texts: such as "crop=100" or "model.heads=4".
        names: of all settings.
        nested: of those that dots reach into.

    Raises:
        ValueError: if a text has no "=", or names no setting.

    Example:
        >>> parse_settings(["crop=100", "model.heads=4"], ["crop", "model"], ["model"])
        {'crop': 100, 'model': {'heads': 4}}
    """
    settings: dict[str, Any] = {}
    for text in texts:
        path, typed = _parted(text)
        if path[0] not in names or (len(path) > 1 and path[0] not in nested):
            near = difflib.get_close_matches(path[0], names, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near and path[0] not in names else f"only {', '.join(names)}"
            raise ValueError(f"there is no setting {'.'.join(path)!r}; {hint}")
        _put(settings, path, _value(typed, path), text)
    return settings


def _parted(text: str) -> tuple[list[str], str]:
    name, sign, typed = text.partition("=")
    path = name.strip().split(".")
    if not sign or not all(path):
        raise ValueError(f"expected settings as name=value, such as batch_size=10 or weight.forces=50, got {text!r}")
    return path, typed


def _value(typed: str, path: list[str]) -> Any:
    import yaml

    try:
        value = yaml.safe_load(typed)
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{'.'.join(path)}: expected a value, got {typed!r}: {told}") from error
    return _number_or_list(value, path) if isinstance(value, str) else value


def _number_or_list(text: str, path: list[str]) -> Any:
    """YAML takes 1e-3 for text; lists may be written without brackets."""
    if path[-1] in ("targets", "test", "loggers"):
        return [part.strip() for part in text.split(",")]
    try:
        return float(text)
    except ValueError:
        return text


def _put(settings: dict[str, Any], path: list[str], value: Any, text: str) -> None:
    for part in path[:-1]:
        settings = settings.setdefault(part, {})
        if not isinstance(settings, dict):
            raise ValueError(f"{text}: {part} was given a value before, expected one or the other")
    if path[-1] in settings:
        raise ValueError(f"{text}: {'.'.join(path)} was given before, expected it once")
    settings[path[-1]] = value


def resolve(
    data: str | None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Return the settings of a run: the recipe's, over them those of a file, over them those given.

    Args:
        data: what to train on; None: what the file says.
        preset: name of the recipe; None: the default one for the data, or none where there is a file.
        config: YAML file with settings, such as a copy of a recipe or the `config.yaml` of a run.
        settings: names and values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a name or value is wrong.
    """
    given = dict(settings or {})
    written: dict[str, Any] = {} if config is None else read_yaml(config)
    source = data if data is not None else written.get("data")
    written = _for_data(written, source)
    values: dict[str, Any] = {}
    if preset is not None or config is None:
        values = load_recipe(preset or default_recipe(source), source)
    values = merge(merge(values, written), given)
    if data is not None:
        values["data"] = data
    if given.get("max_time") is not None and "epochs" not in given:
        values["epochs"] = None  # the clock alone ends the run
    return TrainConfig.from_dict(values)
