"""What an attention layer is made of, apart from the passing of messages."""

from typing import Literal

import torch
from e3nn.o3 import Irreps
from torch import nn
from torch_geometric.nn import MessagePassing

from ..nn import (
    AttentionKind,
    DepthwiseTensorProduct,
    DistanceScore,
    DotScore,
    Gate,
    HeadGate,
    Linear,
    LinearAttention,
    MLPScore,
    PathLinear,
    RadialMLP,
)
from ..o3 import Layout

MessageKind = Literal["nonlinear", "linear"]


class AttentionParts(MessagePassing):
    """The modules of an `EquiformerConv`, which makes them; their irreps and first weights."""

    layout_in: Layout
    layout_out: Layout
    irreps_head: Irreps
    heads: int
    kv_heads: int
    edge_dim: int
    attention: AttentionKind
    needed: list[str]
    product: DepthwiseTensorProduct
    radial: RadialMLP
    score: MLPScore | DotScore | DistanceScore
    gate: Gate | None
    lin_src: Linear
    lin_dst: Linear
    lin_value: PathLinear
    lin_self: Linear | None
    lin_out: Linear
    head_gate: HeadGate | None
    linear_attention: LinearAttention | None

    def _add_second_product(self, pre: Irreps, values: Irreps) -> None:
        """Make the value a gate and a product with weights that all edges share, then a linear map."""
        self.gate = Gate(pre)
        self.lin_gate = PathLinear(self.product.plan, self.gate.irreps_in)
        self.value_product = DepthwiseTensorProduct(pre, irreps_sh=self.irreps_sh, irreps_filter=values)
        self.value_weight = nn.Parameter(torch.empty(self.value_product.weight_numel))
        self.lin_value = PathLinear(self.value_product.plan, values)
        # The paths that are computed on the fused path.
        reached = [ir for ir in self.value_product.plan.types if str(ir) in self.needed]
        kept = Irreps([(1, ir) for ir in reached]) if reached else values
        self.needed_product = DepthwiseTensorProduct(pre, irreps_sh=self.irreps_sh, irreps_filter=kept)
        types = self.needed_product.plan.types
        #: Where each type of the product is among those that are computed.
        self.places = [types.index(ir) if ir in types else None for ir in self.value_product.plan.types]

    @property
    def irreps_in(self) -> Irreps:
        return self.layout_in.irreps

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    @property
    def irreps_sh(self) -> Irreps:
        return self.product.irreps_sh

    @property
    def message_kind(self) -> MessageKind:
        return "linear" if self.gate is None else "nonlinear"

    def unpublished(self) -> list[str]:
        """Return the options in use that the published code does not have."""
        used = {
            "attention='distance'": self.attention == "distance",
            "kv_heads": self.kv_heads != self.heads,
            "attend_self": self.lin_self is not None,
            "gate_heads": self.head_gate is not None,
            "linear_attention_heads": self.linear_attention is not None,
        }
        return [name for name, here in used.items() if here]

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for module in (self.lin_src, self.lin_dst, self.radial, self.score, self.lin_value, self.lin_out):
            module.reset_parameters()
        for option in (self.lin_self, self.head_gate, self.linear_attention):
            if option is not None:
                option.reset_parameters()
        if self.gate is not None:
            self.lin_gate.reset_parameters()
            nn.init.normal_(self.value_weight)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out}, irreps_sh={self.irreps_sh}, "
            f"edge_dim={self.edge_dim}, heads={self.heads} x ({self.irreps_head}), "
            f"attention={self.attention!r}, message={self.message_kind!r})"
        )
