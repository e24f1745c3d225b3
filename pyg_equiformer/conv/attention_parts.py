"""What an attention layer is made of, apart from the passing of messages."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from ..kernels import NeighborTable, attention_sum, attention_weighted_product, neighbor_table, recompute_with
from ..nn import (
    AttentionKind,
    Couplings,
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
from ..o3 import SCALAR, Blocks, Layout, count
from .attention_weights import of_type, weighed
from .chunks import Chunk, TargetChunks

MessageKind = Literal["nonlinear", "linear"]


class AttentionParts(MessagePassing):
    """The modules of an `EquiformerConv`, their irreps and first weights, and the sums over neighbours."""

    layout_in: Layout
    layout_out: Layout
    irreps_head: Irreps
    heads: int
    kv_heads: int
    edge_dim: int
    attention: AttentionKind
    attn_dropout: float
    layout_heads: Layout
    sh_dim: int
    needed: list[str]  #: types of the values that somebody looks at
    kinds: list[int | None]  #: where each type of the values is among those of a head
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

    def _make_product(
        self, pre: Irreps, irreps_sh: Irreps | str, message: MessageKind, radial_hidden: Sequence[int], needed: Irreps
    ) -> None:
        """Make what gives the messages: linear maps of the nodes, the tensor product, and its radial network."""
        self.layout_heads = Layout(self._times(self.heads))
        self.lin_src = Linear(self.irreps_in, pre)
        self.lin_dst = Linear(self.irreps_in, pre, bias=False)
        self.needed = [str(ir) for ir in self.layout_heads.types if ir in needed]
        wanted = pre if message == "nonlinear" else self.layout_heads.irreps
        self.product = DepthwiseTensorProduct(pre, irreps_sh=irreps_sh, irreps_filter=wanted)
        self.sh_dim = self.irreps_sh.dim
        self.radial = RadialMLP(self.edge_dim, radial_hidden, self.product.weight_numel)

    def _make_values(
        self, pre: Irreps, message: MessageKind, attend_self: bool, gate_heads: bool, linear_attention_heads: int
    ) -> None:
        """Make what turns messages into values and their sums into the output."""
        values = self._times(self.kv_heads)
        self.gate = None
        if message == "nonlinear":
            self._add_second_product(pre, values)
        else:
            self.lin_value = PathLinear(self.product.plan, values)
        self.lin_self = Linear(self.irreps_in, values) if attend_self else None
        self.head_gate = HeadGate(self.irreps_in, self.heads) if gate_heads else None
        self.linear_attention = None
        if linear_attention_heads:
            channels = count(self.irreps_head, SCALAR)
            self.linear_attention = LinearAttention(
                self.irreps_in, self.irreps_out, heads=linear_attention_heads, channels=channels
            )
        types = self.layout_heads.types
        self.kinds = [types.index(ir) if ir in types else None for ir in self.lin_value.plan.types]
        self.lin_out = Linear(self.layout_heads.irreps, self.irreps_out)

    def _times(self, heads: int) -> Irreps:
        """Irreps of a number of heads together."""
        return Irreps([(heads * mul, ir) for mul, ir in Layout(self.irreps_head).canonical])

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

    def _attend(
        self,
        src: Blocks,
        dst: Blocks,
        target: Blocks,
        edges: list[Tensor],
        edge_index: Any,
        size: tuple[int, int],
        table: NeighborTable | None,
        couplings: Couplings | None = None,
    ) -> list[Tensor]:
        """Return attention weights and sums over neighbours: all that has to do with edges.

        Args:
            src, dst: mapped features of sources and targets.
            target: features of the targets.
            edges: their harmonics and numbers, and weights if there are any.
            edge_index, size, table, couplings: of the graph.
        """
        share = edges[2] if len(edges) > 2 else None
        coupled = couplings or Couplings(edges[0], table)
        # Spelt out: PyG reads the names from these calls.
        alpha, value = self.edge_updater(
            edge_index, src=src, dst=dst, target=target, couplings=coupled, edge_attr=edges[1], edge_weight=share,
            size=size,
        )  # fmt: skip
        alpha, own = alpha if self.lin_self is not None else (alpha, None)
        out = self.propagate(
            edge_index, alpha=alpha, value=value, couplings=coupled, edge_weight=share, table=table, size=size
        )
        return [alpha, *out] if own is None else [alpha, *self._with_own(out, target, own)]

    def _attend_in_chunks(
        self, edge_index: Tensor, src: Blocks, dst: Blocks, target: Blocks, edges: list[Tensor], skip: tuple[str, ...]
    ) -> list[Tensor]:
        """Return the same, computed chunk by chunk of the targets, and again for the gradients."""
        row = int(self.flow == "source_to_target")
        chunks, found = TargetChunks(edge_index, row, dst[0].shape[0]), []
        for chunk, own_dst, own_target in zip(chunks.of(edges), chunks.nodes(dst), chunks.nodes(target)):

            def attend(
                src: Blocks, dst: Blocks, target: Blocks, edges: list[Tensor], chunk: Chunk = chunk
            ) -> list[Tensor]:
                few, all_sources = chunk.num_targets, src[0].shape[0]
                size = (all_sources, few) if row else (few, all_sources)
                table = neighbor_table(chunk.edge_index[row], few)
                return self._attend(src, dst, target, edges, chunk.edge_index, size, table)

            found.append(recompute_with(self, attend, src, own_dst, own_target, chunk.edges, skip=skip))
        alpha, *blocks = zip(*found)
        return [chunks.in_edge_order(list(alpha)), *(torch.cat(list(b)) for b in blocks)]

    def _sum(self, alpha: Tensor, value: Any, total: Tensor, couplings: Couplings, table: NeighborTable) -> Blocks:
        """Return the mapped sums over neighbours; `total` is that of the attention weights."""
        watched, names = bool(self._forward_hooks), [name for name, _ in self.lin_value.rows]
        if self.gate is None:
            needed = names if watched else self.needed
            sums = [
                attention_sum(v, of_type(alpha, k), table) if name in needed and k is not None else []
                for name, v, k in zip(names, value, self.kinds)
            ]
            return self.lin_value.per_head(sums, self.heads, total, kv_heads=self.kv_heads)
        product = self.value_product if watched else self.needed_product
        if alpha.dim() == 3:  # from the types of the heads to those of the product
            own = [self.kinds[k] for k, place in enumerate(self.places) if watched or place is not None]
            alpha = torch.stack([alpha[:, 0 if k is None else k] for k in own], dim=1)
        found = attention_weighted_product(product.plan, couplings.gathered(product), value, alpha, table)
        sums = [[] if k is None else found[k] for k in (range(len(names)) if watched else self.places)]
        return self.lin_value.per_head(sums, self.heads, total, self.value_weight, self.kv_heads)

    def _with_own(self, out: Blocks, target: Blocks, alpha: Tensor) -> Blocks:
        """Add to sums over neighbours what each target takes from itself."""
        assert self.lin_self is not None  # called with attend_self alone
        alpha = nn.functional.dropout(alpha, self.attn_dropout, self.training)
        own = [weighed(v, of_type(alpha, k), self.kv_heads) for k, v in enumerate(self.lin_self.blocks(target))]
        return [a + b for a, b in zip(out, own)]
