"""OpenEquivariance (arXiv 2501.13986), if it is installed (package openequivariance) and there is a GPU.

Written after its documentation and untested: it has never been run with this package.
"""

import functools
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor, device, dtype, nn

from ...o3 import CouplingPlan, Layout
from ..depthwise import Part
from ..messages import Message
from . import EngineWarning
from .paths import Paths, paths_of, split_paths


def refusal(plan: CouplingPlan, device: device, dtype: dtype) -> str | None:
    """Return why it cannot serve (device, precision or package), or None."""
    if device.type != "cuda":
        return f"openequivariance has kernels for GPUs only, the features are on {device.type!r}"
    if dtype not in (torch.float32, torch.float64):
        return f"openequivariance computes in float32 or float64, not in {dtype}"
    if find_spec("openequivariance") is None:
        return "openequivariance missing (pip install openequivariance)"
    return None


@torch.compiler.disable(reason="its product is built when it first meets a plan")
def message_product(
    plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None
) -> list[list[Part]]:
    """Return the product of messages and harmonics in the precision of the coefficients, see `kernels.engines`."""
    x = Layout(plan.layout_in.canonical).join(message.dense())
    if weight is None:
        weight = x.new_ones(x.shape[0], plan.weight_numel)
    product = _tensor_product(paths_of(plan), coefficients.dtype)
    with torch.autocast(x.device.type, enabled=False):
        out = product(*(v.to(coefficients.dtype).contiguous() for v in (x, edge_sh, weight)))
    return [list(parts) for parts in split_paths(plan, out.to(x.dtype), "c m")]


@functools.cache
def _tensor_product(paths: Paths, dtype: dtype) -> nn.Module:
    import numpy as np
    import openequivariance as oeq

    warnings.warn("engine 'openequivariance' is untested with this package", EngineWarning, 2)
    scalar = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    problem = oeq.TPProblem(
        str(paths.irreps_in),
        str(paths.irreps_sh),
        str(paths.irreps_out),
        paths.instructions,
        irrep_normalization="component",
        path_normalization="none",
        shared_weights=False,
        internal_weights=False,
        irrep_dtype=scalar,
        weight_dtype=scalar,
    )
    return oeq.TensorProduct(problem)
