"""One block of the Equiformer."""

from typing import Any, Literal

from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..conv import attention_layer
from ..nn import DropPath, EquivariantNorm, FeedForward, FFNActivationKind, Linear, NormKind
from ..o3 import SCALAR, Blocks, Layout

NormPosition = Literal["pre", "sandwich"]
NORM_POSITIONS = ("pre", "sandwich")


def check_norm_position(position: NormPosition, norm: NormKind) -> NormPosition:
    """Return the position of norms, or raise a ValueError if there is none such, or no norm to put there.

    Example:
        >>> check_norm_position("sandwich", "layer")
        'sandwich'
    """
    if position not in NORM_POSITIONS:
        raise ValueError(f"norm_position must be one of {NORM_POSITIONS}, got {position!r}")
    if position == "sandwich" and norm == "none":
        raise ValueError("norm_position='sandwich' needs a norm, got norm='none'; use norm_position='pre'")
    return position


class EquiformerBlock(nn.Module):
    r"""Transformer block with norms in its branches: attention, then feed-forward network (arXiv 2206.11990, §4.3).

    .. math:: x \leftarrow x + \mathrm{Attn}(\mathrm{Norm}(x)), \qquad
        x \leftarrow S x + \mathrm{FFN}(\mathrm{Norm}(x))

    with a linear shortcut S where input and output irreps differ, else the identity. With
    `norm_position="sandwich"` each branch is normalised again before it is added (CogView, arXiv 2105.13290):

    .. math:: x \leftarrow x + \mathrm{Norm}(\mathrm{Attn}(\mathrm{Norm}(x))), \qquad
        x \leftarrow S x + \mathrm{Norm}(\mathrm{FFN}(\mathrm{Norm}(x)))

    Args:
        irreps_in: irreps of the node features.
        irreps_out: irreps of the output; None: `irreps_in`.
        irreps_ffn: irreps inside the feed-forward network; None: three times those of `irreps_in`.
        norm: see `EquivariantNorm`.
        norm_position: "pre" or "sandwich".
        ffn_activation, ffn_norms: `activation` and `norms` of the `FeedForward`.
        proj_dropout, drop_path: as in `EquiformerConv`, for both branches; a dropped branch adds nothing.
        **conv: settings of the `EquiformerConv`, `irreps_sh` and `edge_dim` among them, and `parity` ("kept", or
            "ignored" for a `ParityBlindConv`); it names any that it does not know.

    Shapes:
        as in `EquiformerConv`; x [N, irreps_in.dim] → [N, irreps_out.dim]

    Raises:
        ValueError: for unknown settings, or a sandwich without a norm.

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
        norm_position: NormPosition = "pre",
        ffn_activation: FFNActivationKind = "gate",
        ffn_norms: bool = False,
        proj_dropout: float = 0.0,
        drop_path: float = 0.0,
        **conv: Any,
    ) -> None:
        super().__init__()
        self.layout_in = Layout(irreps_in)
        self.layout_out = Layout(self.irreps_in if irreps_out is None else irreps_out)
        if irreps_ffn is None:
            irreps_ffn = Irreps([(3 * mul, ir) for mul, ir in self.irreps_in])
        self.norm_position = check_norm_position(norm_position, norm)
        sandwich = norm_position == "sandwich"
        self.norm_attn = EquivariantNorm(self.irreps_in, norm)
        # Unless told to, neither norm nor feed-forward network take anything from other types, but for the scalars of
        # its gates.
        mixes = self.norm_attn.mixes_types or ffn_norms
        self.attn = attention_layer(
            self.irreps_in,
            irreps_needed=None if mixes else Irreps([(1, SCALAR)]) + self.irreps_out,
            proj_dropout=proj_dropout,
            drop_path=0.0 if sandwich else drop_path,  # a norm would take the place of what is dropped
            **conv,
        )
        self.norm_attn_out = EquivariantNorm(self.irreps_in, norm) if sandwich else None
        self.norm_ffn = EquivariantNorm(self.irreps_in, norm)
        self.ffn = FeedForward(
            self.irreps_in,
            self.irreps_out,
            irreps_mid=irreps_ffn,
            activation=ffn_activation,
            norms=ffn_norms,
            dropout=proj_dropout,
        )
        self.norm_ffn_out = EquivariantNorm(self.irreps_out, norm) if sandwich else None
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
        norms = (self.norm_attn, self.norm_attn_out, self.norm_ffn, self.norm_ffn_out)
        for module in (*norms, self.attn, self.ffn, self.shortcut):
            if module is not None:
                module.reset_parameters()

    def attend(self, x: Blocks, *args: Any, graphs: dict[str, Any], **edges: Any) -> Blocks:
        """Return what the attention's branch adds; `graphs` holds `batch` and `num_graphs`."""
        y: Blocks = self.attn(self.norm_attn(x, **graphs), *args, **graphs, **edges)
        return y if self.norm_attn_out is None else self.drop_path(self.norm_attn_out(y, **graphs), **graphs)

    def feed(self, x: Blocks, *, graphs: dict[str, Any]) -> Blocks:
        """Return what the feed-forward network's branch adds."""
        y: Blocks = self.ffn(self.norm_ffn(x, **graphs))
        y = y if self.norm_ffn_out is None else self.norm_ffn_out(y, **graphs)
        return self.drop_path(y, **graphs)

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
        y = self.attend(h, edge_index, edge_sh, edge_attr, graphs=graphs, **edges)
        h = [a + b for a, b in zip(h, y)]
        y = self.feed(h, graphs=graphs)
        h = h if self.shortcut is None else self.shortcut(h)
        h = [a + b for a, b in zip(h, y)]
        return self.layout_out.join(h) if flat else h
