"""One block of the Equiformer."""

from typing import Any

from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..conv import attention_layer
from ..nn import DropPath, EquivariantNorm, FeedForward, Linear, NormKind
from ..o3 import SCALAR, Blocks, Layout


class EquiformerBlock(nn.Module):
    r"""Pre-norm transformer block: attention, then a feed-forward network (arXiv 2206.11990, §4.3).

    .. math:: x \leftarrow x + \mathrm{Attn}(\mathrm{Norm}(x)), \qquad
        x \leftarrow S x + \mathrm{FFN}(\mathrm{Norm}(x))

    with a linear shortcut S where input and output irreps differ, else the identity.

    Args:
        irreps_in: irreps of the node features.
        irreps_out: irreps of the output; None: `irreps_in`.
        irreps_ffn: irreps inside the feed-forward network; None: three times those of `irreps_in`.
        norm: see `EquivariantNorm`.
        proj_dropout, drop_path: as in `EquiformerConv`, for both branches.
        **conv: settings of the `EquiformerConv`, `irreps_sh` and `edge_dim` among them, and `parity` ("kept", or
            "ignored" for a `ParityBlindConv`); it names any that it does not know.

    Shapes:
        as in `EquiformerConv`; x [N, irreps_in.dim] → [N, irreps_out.dim]

    Example:
        >>> import torch
        >>> block = EquiformerBlock("8x0e+4x1e", irreps_sh="0e+1e", edge_dim=16, heads=2)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 0, 0]])
        >>> block(torch.randn(3, 20), edge_index, torch.randn(3, 4), torch.randn(3, 16)).shape
        torch.Size([3, 20])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        *,
        irreps_out: Irreps | str | None = None,
        irreps_ffn: Irreps | str | None = None,
        norm: NormKind = "layer",
        proj_dropout: float = 0.0,
        drop_path: float = 0.0,
        **conv: Any,
    ) -> None:
        super().__init__()
        self.layout_in = Layout(irreps_in)
        self.layout_out = Layout(self.irreps_in if irreps_out is None else irreps_out)
        if irreps_ffn is None:
            irreps_ffn = Irreps([(3 * mul, ir) for mul, ir in self.irreps_in])
        self.norm_attn = EquivariantNorm(self.irreps_in, norm)
        # Neither norm nor feed-forward network takes anything from other types, but for the scalars of its gates.
        needed = Irreps([(1, SCALAR)]) + self.irreps_out
        self.attn = attention_layer(
            self.irreps_in, irreps_needed=needed, proj_dropout=proj_dropout, drop_path=drop_path, **conv
        )
        self.norm_ffn = EquivariantNorm(self.irreps_in, norm)
        self.ffn = FeedForward(self.irreps_in, self.irreps_out, irreps_mid=irreps_ffn, dropout=proj_dropout)
        same = self.layout_in.canonical == self.layout_out.canonical
        self.shortcut = None if same else Linear(self.irreps_in, self.irreps_out)
        self.drop_path = DropPath(drop_path)

    @property
    def irreps_in(self) -> Irreps:
        return self.layout_in.irreps

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    def reset_parameters(self) -> None:
        for module in (self.norm_attn, self.attn, self.norm_ffn, self.ffn, self.shortcut):
            if module is not None:
                module.reset_parameters()

    def forward(
        self,
        x: Tensor | Blocks,
        edge_index: Any,
        edge_sh: Tensor,
        edge_attr: Tensor,
        *,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        **edges: Any,
    ) -> Any:
        """Return the features after the block; `edges` are further inputs of the attention (`edge_weight`, …)."""
        flat = isinstance(x, Tensor)
        h: Blocks = self.layout_in.split(x) if isinstance(x, Tensor) else x
        graphs = {"batch": batch, "num_graphs": num_graphs}
        y = self.attn(self.norm_attn(h, **graphs), edge_index, edge_sh, edge_attr, **graphs, **edges)
        h = [a + b for a, b in zip(h, y)]
        y = self.drop_path(self.ffn(self.norm_ffn(h, **graphs)), **graphs)
        h = h if self.shortcut is None else self.shortcut(h)
        h = [a + b for a, b in zip(h, y)]
        return self.layout_out.join(h) if flat else h
