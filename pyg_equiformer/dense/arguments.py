"""The dense model with arguments by degree."""

from collections.abc import Sequence
from typing import Any

from e3nn.o3 import Irrep, Irreps

from .model import DenseEquiformer


def _by_degree(value: int | Sequence[int], num_degrees: int, name: str) -> tuple[int, ...]:
    values = (value,) * num_degrees if isinstance(value, int) else tuple(value)
    if len(values) != num_degrees or min(values) < 1:
        raise ValueError(f"{name} must hold num_degrees={num_degrees} positive numbers, got {value}")
    return values


class Equiformer(DenseEquiformer):
    """A `DenseEquiformer` whose irreps are told degree by degree: dim=(4, 4, 2) is "4x0e+4x1e+2x2e".

    Args:
        dim: channels of each degree, or one number for all.
        dim_head: channels of a head of each degree.
        heads: number of heads, or the same number for each degree.
        num_degrees: number of degrees; with a single `dim` it must be given.
        attend_self: see `EquiformerConv`.
        dot_product_attention: attention by dot product.
        l2_dist_attention: attention by distance, see `nn.DistanceScore`. Neither: "mlp".
        single_headed_kv: one key and value for all heads.
        linear_attention: heads of global linear attention, `linear_attn_heads` of them.
        **settings: as for `DenseEquiformer`.

    Shapes:
        as for `DenseEquiformer`

    Raises:
        ValueError: for numbers that do not belong to the degrees, or different numbers of heads.

    Example:
        >>> import torch
        >>> model = Equiformer(num_tokens=24, dim=(4, 4, 2), dim_head=(4, 4, 4), heads=(2, 2, 2), depth=1)
        >>> model(torch.randint(0, 24, (1, 9)), torch.randn(1, 9, 3)).type1.shape
        torch.Size([1, 9, 4, 3])
    """

    def __init__(
        self,
        *,
        dim: int | Sequence[int],
        dim_head: int | Sequence[int] = 24,
        heads: int | Sequence[int] = 8,
        num_degrees: int | None = None,
        attend_self: bool = True,
        dot_product_attention: bool = False,
        l2_dist_attention: bool = False,
        single_headed_kv: bool = False,
        linear_attention: bool = False,
        linear_attn_heads: int = 8,
        **settings: Any,
    ) -> None:
        if num_degrees is None:
            if isinstance(dim, int):
                raise ValueError(f"one dim for all degrees needs num_degrees, got dim={dim}")
            num_degrees = len(dim)
        dims, head_dims = (_by_degree(v, num_degrees, n) for v, n in ((dim, "dim"), (dim_head, "dim_head")))
        of_degrees = _by_degree(heads, num_degrees, "heads")
        if len(set(of_degrees)) > 1:
            raise ValueError(f"heads must be the same for all degrees, which share their attention, got {heads}")
        if dot_product_attention and l2_dist_attention:
            raise ValueError("choose one of dot_product_attention and l2_dist_attention, got both")
        attention = "dot" if dot_product_attention else "distance" if l2_dist_attention else "mlp"
        degrees = [Irrep(l, 1) for l in range(num_degrees)]
        super().__init__(
            irreps=Irreps(list(zip(dims, degrees))),
            irreps_head=Irreps(list(zip(head_dims, degrees))),
            heads=of_degrees[0],
            attend_self=attend_self,
            attention=attention,
            kv_heads=1 if single_headed_kv else None,
            linear_attention_heads=linear_attn_heads if linear_attention else 0,
            **settings,
        )
