"""Ways to run our own network."""

import inspect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..models import Equiformer, preset_config

OURS = "pyg_equiformer"


@dataclass(frozen=True)
class Variant:
    """How our own network runs; what is left at its default is not passed on.

    Example:
        >>> Variant(checkpoint="block").label
        'pyg_equiformer (checkpoint=block)'
    """

    engine: str = "auto"
    compile: bool = False
    precision: str | None = None
    checkpoint: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for `Equiformer` that differ from the defaults."""
        default = Variant()
        return {k: v for k, v in vars(self).items() if v != getattr(default, k)}

    @property
    def label(self) -> str:
        told = [k if v is True else f"{k}={v}" for k, v in self.arguments().items()]
        return OURS + (f" ({', '.join(told)})" if told else "")


def variants_of(
    engines: Sequence[str] = (), compile: bool = False, precisions: Sequence[str] = (), checkpoints: Sequence[str] = ()
) -> tuple[Variant, ...]:
    """Return the default and all combinations of what is given.

    Example:
        >>> [v.label for v in variants_of(checkpoints=["none", "block"])]
        ['pyg_equiformer', 'pyg_equiformer (checkpoint=none)', 'pyg_equiformer (checkpoint=block)']
    """
    given: dict[str, Sequence[Any]] = {
        "engine": engines,
        "compile": [compile],
        "precision": precisions,
        "checkpoint": checkpoints,
    }
    # A field that nothing is given for keeps its default.
    named = [[(name, value) for value in values] for name, values in given.items() if values]
    return tuple(dict.fromkeys([Variant(), *(Variant(**dict(choice)) for choice in itertools.product(*named))]))


def accepted() -> list[str]:
    """Return which of these choices `Equiformer` has."""
    known = inspect.signature(Equiformer.__init__).parameters
    return [name for name in vars(Variant()) if name in known]


def check_variant(variant: Variant) -> None:
    """Raise a ValueError if `Equiformer` has no such choice, or not this value of it."""
    for name in variant.arguments():
        if name not in accepted():
            raise ValueError(f"--{name}: this Equiformer has no argument {name}, expected some of {accepted()}")
    Equiformer(preset_config("small", num_layers=1), **variant.arguments())
