"""The oracle: e3nn's tensor product in flat features, slow and on any device."""

import functools

import torch
from e3nn.o3 import TensorProduct
from torch import Tensor, device, dtype

from ...o3 import CouplingPlan, Layout
from ..depthwise import Part
from ..messages import Message
from .paths import Paths, paths_of, split_paths


def refusal(plan: CouplingPlan, device: device, dtype: dtype) -> str | None:
    """Return None: it serves every case."""
    return None


@torch.compiler.disable(reason="e3nn's product builds itself when it first meets a plan")
def message_product(
    plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None
) -> list[list[Part]]:
    """Return the product of messages and harmonics in the precision of the coefficients, see `kernels.engines`."""
    x = Layout(plan.layout_in.canonical).join(message.dense())
    if weight is None:
        weight = x.new_ones(x.shape[0], plan.weight_numel)
    tp = _tensor_product(paths_of(plan), coefficients.dtype, coefficients.device)
    with torch.autocast(x.device.type, enabled=False):
        out = tp(*(v.to(coefficients.dtype) for v in (x, edge_sh, weight)))
    return [list(parts) for parts in split_paths(plan, out.to(x.dtype), "c m")]


@functools.cache
def _tensor_product(paths: Paths, dtype: dtype, device: device) -> TensorProduct:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn rounds its 3j symbols to the default precision
    try:
        tp = TensorProduct(
            paths.irreps_in,
            paths.irreps_sh,
            paths.irreps_out,
            paths.instructions,
            irrep_normalization="component",
            path_normalization="none",
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        torch.set_default_dtype(before)
    return tp.to(device=device, dtype=dtype)
