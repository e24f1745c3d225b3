"""What a network is told of its nodes beside their kind: places in a sequence, and features that turn with them."""

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..nn import Linear
from ..o3 import Blocks, Layout


class NodeInputs(nn.Module):
    r"""First features of the nodes from their position in a sequence and from equivariant inputs.

    .. math:: h_i = \mathrm{Embedding}(p_i)\,[l = 0e] + W a_i

    Args:
        irreps_out: irreps of the features; needs 0e.
        num_positions: number of positions; 0: none are taken.
        irreps_node: irreps of the equivariant inputs; None: none are taken.

    Shapes:
        blocks x of irreps_out, node_position [N], node_attr [N, irreps_node.dim] → x + h

    Example:
        >>> inputs = NodeInputs("8x0e+4x1o", num_positions=10, irreps_node="1x1o")
        >>> x = [torch.zeros(2, 1, 8), torch.zeros(2, 3, 4)]
        >>> [b.shape for b in inputs(x, torch.tensor([0, 1]), torch.randn(2, 3))]
        [torch.Size([2, 1, 8]), torch.Size([2, 3, 4])]
    """

    def __init__(self, irreps_out: Irreps | str, *, num_positions: int, irreps_node: Irreps | str | None) -> None:
        super().__init__()
        self.position: nn.Parameter | None = None
        self.lin: Linear | None = None
        if num_positions:
            self.position = nn.Parameter(torch.empty(num_positions, Layout(irreps_out).channels[0]))
        if irreps_node is not None:
            self.lin = Linear(irreps_node, irreps_out, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.position is not None:
            nn.init.normal_(self.position)
        if self.lin is not None:
            self.lin.reset_parameters()

    def forward(self, x: Blocks, node_position: Tensor | None, node_attr: Tensor | None) -> Blocks:
        if self.position is not None:
            assert node_position is not None  # checked with the inputs
            x = [x[0] + self.position.index_select(0, node_position).unsqueeze(1), *x[1:]]
        if self.lin is not None:
            assert node_attr is not None
            more = self.lin.blocks(self.lin.layout_in.split(node_attr.to(x[0].dtype)))
            x = [a + b for a, b in zip(x, more)]
        return x
