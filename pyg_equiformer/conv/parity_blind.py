"""Attention that does not tell even from odd, as the published dot-product attention may be."""

from typing import Any

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn

from ..o3 import Blocks, Layout, as_irreps, check_irreps_sh
from .checks import check_features
from .equiformer_conv import EquiformerConv


def without_parity(irreps: Irreps) -> Irreps:
    """Return irreps with every parity even, entry by entry.

    Example:
        >>> without_parity(Irreps("4x0e+2x0o+1x1o"))
        4x0e+2x0e+1x1e
    """
    return Irreps([(mul, Irrep(ir.l, 1)) for mul, ir in irreps])


class ParityBlindConv(nn.Module):
    r"""An `EquiformerConv` in which even and odd channels of one degree are alike.

    It is equivariant under rotations, but not under inversion. The published dot-product attention is such a
    layer wherever its heads hold both parities: it sorts channels by parity but cuts heads by position. It is
    here for the sake of such checkpoints; where parity is to mean something, use `EquiformerConv`.

    Args:
        irreps_in, irreps_sh, irreps_head, irreps_out, irreps_pre_attn, **settings: as in `EquiformerConv`.

    Shapes:
        as in `EquiformerConv`

    Example:
        >>> conv = ParityBlindConv("4x0e+2x0o", irreps_sh="0e+1o", irreps_head="2x0e+1x0o", edge_dim=8, heads=2)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 0, 0]])
        >>> conv(torch.randn(3, 6), edge_index, torch.randn(3, 4), torch.randn(3, 8)).shape
        torch.Size([3, 6])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        *,
        irreps_sh: Irreps | str,
        irreps_head: Irreps | str,
        irreps_out: Irreps | str | None = None,
        irreps_pre_attn: Irreps | str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.layout_in = Layout(irreps_in)
        self.layout_out = Layout(self.irreps_in if irreps_out is None else irreps_out)
        self.irreps_sh, self.irreps_head = check_irreps_sh(irreps_sh), as_irreps(irreps_head, "irreps_head")
        pre = self.irreps_in if irreps_pre_attn is None else irreps_pre_attn
        self.irreps_pre_attn = as_irreps(pre, "irreps_pre_attn")
        self.conv = EquiformerConv(
            without_parity(self.layout_in.canonical),
            irreps_sh=without_parity(self.irreps_sh),
            irreps_head=without_parity(self.irreps_head),
            irreps_out=without_parity(self.layout_out.canonical),
            irreps_pre_attn=without_parity(Layout(self.irreps_pre_attn).canonical),
            **settings,
        )
        self._groups = [[k for k, d in enumerate(self.layout_in.dims) if d == dim] for dim in self.conv.layout_in.dims]
        sizes = list(zip(self.layout_out.dims, self.layout_out.channels))
        self._sizes = [[c for d, c in sizes if d == dim] for dim in self.conv.layout_out.dims]

    @property
    def irreps_in(self) -> Irreps:
        return self.layout_in.irreps

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    @property
    def attention(self) -> str:
        return self.conv.attention

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()

    def forward(
        self, x: Tensor | Blocks, edge_index: Any, *edges: Tensor, return_attention_weights: bool = False, **kwargs: Any
    ) -> Any:
        h = x if isinstance(x, list) else check_features(x, self.layout_in)
        merged = [torch.cat([h[k] for k in group], dim=-1) for group in self._groups]
        out = self.conv(merged, edge_index, *edges, return_attention_weights=return_attention_weights, **kwargs)
        blocks, *alpha = out if return_attention_weights else (out,)
        split = [part for b, sizes in zip(blocks, self._sizes) for part in torch.split(b, sizes, dim=-1)]
        y = split if isinstance(x, list) else self.layout_out.join(split)
        return (y, *alpha) if return_attention_weights else y


def attention_layer(irreps_in: Irreps | str, *, parity: str = "kept", **settings: Any) -> Any:
    """Return an `EquiformerConv`, or with parity="ignored" a `ParityBlindConv`."""
    if parity not in ("kept", "ignored"):
        raise ValueError(f"parity must be 'kept' or 'ignored', got {parity!r}")
    if parity == "kept":
        return EquiformerConv(irreps_in, **settings)
    settings.pop("irreps_needed", None)  # such layers are old; they compute everything
    return ParityBlindConv(irreps_in, **settings)
