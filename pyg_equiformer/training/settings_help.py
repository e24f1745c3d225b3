"""The explanation of every setting, taken from the docstrings that explain them."""

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

from .config import TrainConfig

if TYPE_CHECKING:
    from rich.console import Group


def described(cls: type) -> dict[str, tuple[Any, str]]:
    """Return default and explanation of each field of a dataclass, from the Args or Attributes of its docstring.

    Example:
        >>> described(TrainConfig)["batch_size"]
        (5, 'structures per step and device.')
    """
    text = inspect.getdoc(cls) or ""
    block = re.split("(?:Args|Attributes):\n", text, maxsplit=1)[1].split("\n\n", 1)[0]
    several = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", block, flags=re.MULTILINE)
    found = {name: told for names, told in several for name in names.split(", ")}
    defaults = {}
    for field in dataclasses.fields(cls):
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        defaults[field.name] = default
    return {name: (value, " ".join(found[name].replace("`", "").split())) for name, value in defaults.items()}


def settings_help() -> "Group":
    """Return tables of all settings, for the terminal."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from ..data import ReadOptions
    from ..models import EquiformerConfig, preset_config

    usual = TrainConfig().network
    network = {n: (getattr(preset_config(usual), n), text) for n, (_, text) in described(EquiformerConfig).items()}
    parts: list[Any] = []
    for title, rows in (
        ("Settings of a run: NAME=VALUE (YAML values; a recipe may have other defaults)", described(TrainConfig)),
        ("How files are read: NAME=VALUE, or read.NAME=VALUE", described(ReadOptions)),
        (f"The network: model.NAME=VALUE (defaults of network={usual})", network),
    ):
        table = Table(title=title, title_justify="left", box=box.SIMPLE, show_lines=False)
        for header in ("name", "default", "what it is"):
            table.add_column(header, no_wrap=header == "name")
        for name, (default, text) in rows.items():
            if name == "dtype":
                continue  # the precision of the run decides
            table.add_row(name, escape(_shown(default)), escape(text))
        parts.append(table)
    return Group(*parts)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if value in ((), {}, []):
        return "–"
    if isinstance(value, tuple):
        several = len(value) > 4 and list(value) == list(range(value[0], value[-1] + 1))
        return f"{value[0]} to {value[-1]}" if several else ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
