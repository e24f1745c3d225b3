"""The default engine: batched matrix products of PyTorch, on any device, in eager and in compiled code."""

from torch import Tensor, device, dtype

from ...o3 import CouplingPlan
from ..depthwise import Part, coupling_matrices, depthwise_product
from ..messages import Message


def refusal(plan: CouplingPlan, device: device, dtype: dtype) -> str | None:
    """Return None: it serves every case."""
    return None


def message_product(
    plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None
) -> list[list[Part]]:
    """Return the product of messages and harmonics, see `kernels.engines`."""
    return depthwise_product(plan, coupling_matrices(plan, coefficients, edge_sh), message.dense(), weight)
