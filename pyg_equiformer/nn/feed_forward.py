"""The network of a block that acts on each atom alone."""

from typing import Literal

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from ..o3 import SCALAR, Blocks, as_irreps
from .activation import Gate, NormActivation, channel_norm
from .dropout import EquivariantDropout
from .irreps_module import IrrepsModule
from .linear import Linear

FFNActivationKind = Literal["gate", "norm"]
FFN_ACTIVATIONS: dict[str, type[Gate] | type[NormActivation]] = {"gate": Gate, "norm": NormActivation}


class FeedForward(IrrepsModule):
    r"""Equivariant feed-forward network: linear, gate, linear (arXiv 2206.11990, §4.3).

    .. math:: y = W_2\, \mathrm{Gate}(s\, W_1 x + b_1)\, s + b_2

    Args:
        irreps_in, irreps_out: irreps of input and output.
        irreps_mid: irreps after the activation.
        activation: "gate" (`Gate`), or "norm" (`NormActivation` in its place).
        norms: append the norms of all channels but 0e to the scalars of x, so that the scalars learn of the higher
            types: :math:`x_0 \leftarrow (x_0, n)` with n of `channel_norm`.
        dropout: probability that a channel of the output is dropped.

    Shapes:
        flat [N, irreps_in.dim] → [N, irreps_out.dim], or blocks → blocks; node_attr [N, 1], the optional
        scalar s of each atom (1 if not given).

    Raises:
        ValueError: for an unknown activation, or a dropout that is no probability.

    Example:
        >>> import torch
        >>> FeedForward("8x0e+4x1e", "8x0e+4x1e", irreps_mid="16x0e+8x1e")(torch.zeros(5, 20)).shape
        torch.Size([5, 20])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_out: Irreps | str,
        *,
        irreps_mid: Irreps | str,
        activation: FFNActivationKind = "gate",
        norms: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(irreps_in, irreps_out)
        if activation not in FFN_ACTIVATIONS:
            raise ValueError(f"activation must be one of {tuple(FFN_ACTIVATIONS)}, got {activation!r}")
        self.activation: Gate | NormActivation = FFN_ACTIVATIONS[activation](as_irreps(irreps_mid, "irreps_mid"))
        self.norms = bool(norms)
        others = [mul for ir, mul in zip(self.layout_in.types, self.layout_in.channels) if ir != SCALAR]
        #: The input with the norms appended, in the order of its blocks.
        seen = self.layout_in.canonical + Irreps([(sum(others), SCALAR)]) if self.norms else irreps_in
        self.lin_in = Linear(seen, self.activation.irreps_in)
        self.lin_out = Linear(self.activation.irreps_out, irreps_out)
        self.dropout = EquivariantDropout(dropout)

    def reset_parameters(self) -> None:
        if isinstance(self.activation, NormActivation):
            self.activation.reset_parameters()
        self.lin_in.reset_parameters()
        self.lin_out.reset_parameters()

    def blocks(self, x: Blocks, node_attr: Tensor | None = None) -> Blocks:
        if self.norms:
            x = self._with_norms(x)
        if node_attr is None:
            return self.dropout(self.lin_out.blocks(self.activation.blocks(self.lin_in.blocks(x))))
        # A linear map of x times s, the bias left alone: scale x, not the output.
        s = node_attr.unsqueeze(1)
        hidden = self.activation.blocks(self.lin_in.blocks([b * s for b in x]))
        return self.dropout(self.lin_out.blocks([b * s for b in hidden]))

    def _with_norms(self, x: Blocks) -> Blocks:
        """Return the features with the norms of all channels but 0e appended to the 0e, which come first."""
        start = 1 if self.layout_in.names[0] == "0e" else 0
        return [torch.cat([*x[:start], *(channel_norm(b) for b in x[start:])], dim=-1), *x[start:]]
