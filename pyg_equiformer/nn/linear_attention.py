"""Attention among all nodes of a graph whose cost is linear in their number."""

import torch
from e3nn.o3 import Irreps
from einops import rearrange
from torch import Tensor, nn

from ..kernels import segment_softmax, segment_sum, take_rows
from ..o3 import SCALAR, Blocks, Layout, count
from .linear import Linear


class LinearAttention(nn.Module):
    r"""Global linear attention over the scalars of each graph (efficient attention, arXiv 1812.01243).

    .. math:: y_i = W \sum_c \mathrm{softmax}_c(q_i)_c \sum_j \mathrm{softmax}_j(k_j)_c \, v_j

    with the second softmax over the nodes of the graph of i; all of them see each other at a cost linear in nodes.

    Args:
        irreps_in: irreps of the nodes; only 0e takes part.
        irreps_out: irreps of the output; needs 0e.
        heads: number of heads.
        channels: of each head.

    Shapes:
        blocks of irreps_in for N nodes, batch [N] (None: one graph) → [N, 1, 0e channels of irreps_out]

    Raises:
        ValueError: if one of them has no 0e, or for heads or channels that are not positive.

    Example:
        >>> attention = LinearAttention("8x0e+4x1e", "6x0e+2x1e", heads=2, channels=16)
        >>> attention([torch.randn(5, 1, 8), torch.randn(5, 3, 4)]).shape
        torch.Size([5, 1, 6])
    """

    def __init__(self, irreps_in: Irreps | str, irreps_out: Irreps | str, *, heads: int, channels: int) -> None:
        super().__init__()
        given, made = (count(Layout(irreps).irreps, SCALAR) for irreps in (irreps_in, irreps_out))
        if given == 0 or made == 0:
            raise ValueError(f"linear attention needs 0e in input and output, got {irreps_in} and {irreps_out}")
        if heads < 1 or channels < 1:
            raise ValueError(f"linear attention needs heads and channels, got {heads} and {channels}")
        self.heads = heads
        self.lin_in = Linear(Irreps([(given, SCALAR)]), Irreps([(3 * heads * channels, SCALAR)]), bias=False)
        self.lin_out = Linear(Irreps([(heads * channels, SCALAR)]), Irreps([(made, SCALAR)]))

    def reset_parameters(self) -> None:
        self.lin_in.reset_parameters()
        self.lin_out.reset_parameters()

    def forward(self, x: Blocks, batch: Tensor | None = None, num_graphs: int | None = None) -> Tensor:
        scalars = x[0]
        if batch is None:
            batch, num_graphs = torch.zeros(scalars.shape[0], dtype=torch.int64, device=scalars.device), 1
        elif num_graphs is None:
            num_graphs = int(batch.max()) + 1 if batch.numel() else 0
        (mapped,) = self.lin_in.blocks([scalars])
        q, k, v = rearrange(mapped, "n 1 (s h c) -> s n h c", s=3, h=self.heads)
        share = segment_softmax(k.flatten(1), batch, num_graphs).view_as(k)
        context = segment_sum(share.unsqueeze(3) * v.unsqueeze(2), batch, num_graphs)
        out = (q.softmax(-1).unsqueeze(2) @ take_rows(context, batch)).squeeze(2)
        return self.lin_out.blocks([rearrange(out, "n h c -> n 1 (h c)")])[0]
