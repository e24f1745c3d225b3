"""The network of a block that acts on each atom alone."""

from e3nn.o3 import Irreps
from torch import Tensor

from ..o3 import Blocks
from .activation import Gate
from .dropout import EquivariantDropout
from .irreps_module import IrrepsModule
from .linear import Linear


class FeedForward(IrrepsModule):
    r"""Equivariant feed-forward network: linear, gate, linear (arXiv 2206.11990, §4.3).

    .. math:: y = W_2\, \mathrm{Gate}(s\, W_1 x + b_1)\, s + b_2

    Args:
        irreps_in, irreps_out: irreps of input and output.
        irreps_mid: irreps after the gate.
        dropout: probability that a channel of the output is dropped.

    Shapes:
        flat [N, irreps_in.dim] → [N, irreps_out.dim], or blocks → blocks; node_attr [N, 1], the optional
        scalar s of each atom (1 if not given).

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
        dropout: float = 0.0,
    ) -> None:
        super().__init__(irreps_in, irreps_out)
        self.gate = Gate(irreps_mid)
        self.lin_in = Linear(irreps_in, self.gate.irreps_in)
        self.lin_out = Linear(self.gate.irreps_out, irreps_out)
        self.dropout = EquivariantDropout(dropout)

    def reset_parameters(self) -> None:
        self.lin_in.reset_parameters()
        self.lin_out.reset_parameters()

    def blocks(self, x: Blocks, node_attr: Tensor | None = None) -> Blocks:
        if node_attr is None:
            return self.dropout(self.lin_out.blocks(self.gate.blocks(self.lin_in.blocks(x))))
        # A linear map of x times s, the bias left alone: scale x, not the output.
        s = node_attr.unsqueeze(1)
        hidden = self.gate.blocks(self.lin_in.blocks([b * s for b in x]))
        return self.dropout(self.lin_out.blocks([b * s for b in hidden]))
