"""What users may choose for a network beside the engine, as its constructor tells."""

import inspect
from typing import Any, get_args, get_type_hints

from pyg_equiformer.models import Equiformer


def values_of(choice: str) -> list[Any]:
    """Return the values of an argument of `Equiformer` that is a flag or one of several names, but for
    its default.

    Raises:
        ValueError: if it is neither.
    """
    hint = get_type_hints(Equiformer.__init__)[choice]
    values = [True] if hint is bool else _names(hint)
    if not values:
        raise ValueError(f"{choice}: expected a flag or a choice of names, got {hint}")
    default = inspect.signature(Equiformer.__init__).parameters[choice].default
    return [value for value in values if value != default]


def _names(hint: Any) -> list[Any]:
    found: list[Any] = []
    for entry in get_args(hint):
        found += [entry] if isinstance(entry, str) else [True] if entry is bool else _names(entry)
    return found
