"""Compiled functions of a module, which are made when first used and are no part of its copies."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.fx.experimental import _config as config


def _without_coincidences(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function that takes equal sizes for a coincidence: as many edges as channels, say."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
            return function(*args, **kwargs)

    return call


class CompilesParts(nn.Module):
    """A module that compiles some of its functions, with dynamic shapes: one graph serves all sizes."""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` compiled; the same one for the same function."""
        made: dict[Any, Callable[..., Any]] = self.__dict__.setdefault("_made", {})
        if function not in made:
            made[function] = _without_coincidences(torch.compile(function, fullgraph=True, dynamic=True))
        return made[function]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state.pop("_made", None)
        return state
