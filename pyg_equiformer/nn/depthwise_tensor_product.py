"""The depthwise tensor product as a layer."""

from collections.abc import Sequence
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..kernels import Message, Outer, Part, depthwise_product, engine_module, grouped_matrices, know_plan, pair_matrices
from ..o3 import Blocks, Constants, CouplingPlan, Layout, as_irreps, check_irreps_sh, coupling_plan


class DepthwiseTensorProduct(nn.Module):
    r"""Tensor product of features with edge harmonics, channel by channel, with given weights.

    .. math:: (x \otimes_w Y)^{(l_3)}_{c} = w_{c} \sqrt{2l_3+1} \sum_{m_1 m_2}
        \begin{pmatrix} l_1 & l_2 & l_3 \\ m_1 & m_2 & m_3 \end{pmatrix} x^{(l_1)}_{m_1 c} Y_{l_2 m_2}

    Args:
        irreps_in: irreps of x.
        irreps_sh: irreps of the harmonics, each once.
        irreps_filter: keep the paths to these irreps and to 0e.

    Shapes:
        x [E, irreps_in.dim], sh [E, irreps_sh.dim], weight [E, weight_numel] → [E, irreps_out.dim]

    Example:
        >>> tp = DepthwiseTensorProduct("4x0e+2x1e", irreps_sh="0e+1e", irreps_filter="0e+1e")
        >>> tp.irreps_out, tp.weight_numel
        (6x0e+8x1e, 14)
    """

    def __init__(self, irreps_in: Irreps | str, *, irreps_sh: Irreps | str, irreps_filter: Irreps | str) -> None:
        super().__init__()
        self.plan: CouplingPlan = coupling_plan(
            Layout(irreps_in), check_irreps_sh(irreps_sh), as_irreps(irreps_filter, "irreps_filter")
        )
        self.layout_out = Layout(self.plan.irreps_out)
        know_plan(self.plan)
        self.coupling = Constants(coefficients=self.plan.coefficients, grouped=self.plan.grouped)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        know_plan(self.plan)  # copies may be in another process

    @property
    def irreps_in(self) -> Irreps:
        return self.plan.layout_in.irreps

    @property
    def irreps_sh(self) -> Irreps:
        return self.plan.irreps_sh

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    @property
    def weight_numel(self) -> int:
        return self.plan.weight_numel

    def matrices(self, edge_sh: Tensor) -> list[Tensor]:
        """Return the coupling matrices of the edges, see `kernels.grouped_matrices`."""
        return grouped_matrices(self.plan, self.coupling.get_buffer("grouped"), edge_sh)

    def pairs(
        self, x: Blocks, matrices: list[Tensor], weight: Tensor | Sequence[Tensor] | None = None
    ) -> list[list[Part]]:
        """Return the product pair by pair, see `kernels.depthwise_product`; the matrices are those of pairs too."""
        return depthwise_product(self.plan, matrices, x, weight)

    def by_engine(self, name: str, message: Message, edge_sh: Tensor, weight: Tensor | None) -> list[list[Part]]:
        """Return the product pair by pair from the engine of that name, see `kernels.engines`."""
        coefficients = self.coupling.get_buffer("coefficients")
        parts: list[list[Part]] = engine_module(name).message_product(self.plan, coefficients, edge_sh, message, weight)
        return parts

    def forward(self, x: Tensor, edge_sh: Tensor, weight: Tensor | None = None) -> Tensor:
        matrices = pair_matrices(self.plan, self.matrices(edge_sh))
        parts = self.pairs(self.plan.layout_in.split(x), matrices, weight)
        dense = [[u.dense() if isinstance(u, Outer) else u for u in pieces] for pieces in parts]
        return self.layout_out.join([torch.cat(pieces, dim=-1) for pieces in dense])

    def extra_repr(self) -> str:
        return f"{self.irreps_in} x {self.irreps_sh} -> {self.irreps_out}"
