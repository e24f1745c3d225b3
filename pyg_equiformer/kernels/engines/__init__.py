"""Engines of the depthwise tensor product: one signature, chosen by name or automatically.

Each is a module with `refusal(plan, device, dtype)`, which says why it cannot serve a case (None if it can), and
`message_product(plan, coefficients, edge_sh, message, weight)`, which gives what `kernels.depthwise_product` gives.
Weights belong to the layers: a checkpoint never depends on the engine.
"""

import warnings
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Literal, get_args

import torch

from ...o3 import CouplingPlan

EngineKind = Literal["auto", "torch", "reference", "triton", "aligned", "cuequivariance", "openequivariance"]
ENGINES = get_args(EngineKind)

#: Who may serve where the user leaves the choice to us, best first: those that have been run on that hardware.
AUTOMATIC = {"cpu": ("torch",), "cuda": ("torch",)}


def check_engine(name: str) -> str:
    """Return the name of an engine.

    Raises:
        ValueError: if there is none of that name, listing them.
    """
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    return name


@cache
def engine_module(name: str) -> ModuleType:
    """Return the module of an engine; its package, if it needs one, is imported by the module where it is used."""
    return import_module(f"{__name__}.{name}")


class EngineWarning(UserWarning):
    """The engine that was asked for cannot serve a case, and another one does."""


def choose_engine(name: str, plan: CouplingPlan, device: torch.device, dtype: torch.dtype) -> str:
    """Return the engine that serves: the one asked for, or `torch`, with a warning that says why.

    Args:
        name: one of `ENGINES`.
        plan: of the product.
        device, dtype: of the features.
    """
    if name == "torch":
        return name
    if name == "auto":
        return AUTOMATIC.get(device.type, ("torch",))[0]
    reason = engine_module(name).refusal(plan, device, dtype)
    if reason is None:
        return name
    # Once per case and place, as Python shows a warning.
    warnings.warn(f"engine {name!r} cannot serve {plan.layout_in.irreps}: {reason}; taking 'torch'", EngineWarning, 2)
    return "torch"
