"""Equivariant graph attention as a message passing layer."""

from collections.abc import Sequence
from typing import Any, List, Literal, Optional, Tuple  # PyG's inspector knows no other spelling

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..kernels import (
    EngineKind,
    Message,
    NeighborTable,
    check_engine,
    choose_engine,
    neighbor_table,
    recompute_with,
    segment_sum,
    worth_chunks,
)
from ..nn import (
    SCORES,
    AttentionKind,
    Couplings,
    DropPath,
    EquivariantDropout,
    ScalarScoreKind,
    check_probability,
    map_product,
)
from ..o3 import Blocks, Layout, as_irreps
from .attention_parts import AttentionParts, MessageKind
from .attention_weights import of_type, softmax, softmax_with_own, weighed
from .checks import check_edges, check_features, check_kv_heads, choose_head, must_show_messages
from .chunks import most_edges

AVG_DEGREE = 15.57930850982666  # QM9 within 5 Å, as published


class EquiformerConv(AttentionParts):
    r"""Equivariant graph attention (Equiformer, arXiv 2206.11990, §4.2).

    .. math::
        m_{ij} &= (W_s x_j + W_d x_i) \otimes_{w(r_{ij})} Y(\hat r_{ij}) \\
        α_{ij} &= \mathrm{softmax}_j\big(a(m_{ij})\big), \qquad
        x_i' = W_o \sum_j α_{ij}\, v(m_{ij})

    with the radial network w, a score a per head and the value v: a linear map of the message
    (`message="linear"`), or a gate and a second tensor product with the harmonics (`"nonlinear"`).
    With `attend_self` the target is one more key, with a linear map of :math:`x_i` as its value.

    Args:
        irreps_in: irreps of the node features.
        irreps_sh: irreps of the edge harmonics, each once.
        edge_dim: number of edge scalars (radial basis and other edge features).
        heads: number of heads.
        irreps_head: irreps of one head. None: those of `irreps_in`, channels divided by `heads`.
        irreps_out: irreps of the output. None: `irreps_in`.
        irreps_pre_attn: irreps of the message. None: `irreps_in`.
        irreps_needed: types of the output that anybody looks at; on the fused path the others are zero instead of
            computed, unless a forward hook watches the layer. None: all of `irreps_out`.
        attention: "mlp" (score from the message's scalars, GATv2, arXiv 2105.14491), "dot" (queries and keys,
            SE(3)-Transformer, arXiv 2006.10503) or "distance" (of queries and keys, with a softmax for each type of
            `irreps_head`), see `nn.score`.
        scalar_score: how attention="distance" compares 0e channels, by "distance" or "dot" product.
        kv_heads: number of keys and values, each shared by heads / kv_heads heads (multi-query attention,
            arXiv 1911.02150). None: `heads`.
        attend_self: whether a target attends to itself too, without a direction.
        gate_heads: whether the sum of each head is multiplied by the sigmoid of a scalar of the target, so that a head
            may attend to nothing.
        linear_attention_heads: number of heads of attention among all nodes of a graph, see `LinearAttention`; their
            result is added to the 0e channels of the output.
        message: "nonlinear" or "linear".
        radial_hidden: hidden widths of the radial network.
        rescale_degree: multiply the sum by the degree ("mlp") or by degree / avg_degree ("dot"),
            as the published code does; the degree is the sum of `edge_weight` where that is given.
        avg_degree: see `rescale_degree`.
        attn_dropout, proj_dropout, drop_path: dropout of attention weights, of output channels, and of the
            whole output of a graph.
        flow: "source_to_target" or "target_to_source", as in PyG.
        engine: who computes the tensor product of the message, see `kernels.engines`; a matter of speed alone.
        checkpoint: "tensor_product" stores nothing of the edges for the gradients, but computes it again for them
            (the second gradients included); "none" stores everything.

    Shapes:
        - x: [N, irreps_in.dim] in e3nn's layout, or a pair of such for bipartite graphs, in the order of the
          rows of `edge_index`
        - edge_index: [2, E] (tensor or `EdgeIndex`), or a transposed `SparseTensor` (edge features are then
          in the order of its `coo()`)
        - edge_sh: [E, irreps_sh.dim]; edge_attr: [E, edge_dim]
        - edge_weight: [E], a smooth cutoff u(d) that weighs softmax and messages, optional
        - batch: [N], graph of each node, for `drop_path`
        - output: [N, irreps_out.dim]; with `return_attention_weights=True` also (edge_index, α [E, heads])

    The sum over neighbours is taken before the second product where possible (same function, far less work).
    This fused path steps aside while a message or aggregate hook or an explainer is active; then messages
    are tensors [E, heads · irreps_head.dim] in e3nn's layout.

    Raises:
        ValueError: for irreps without 0e where scalars are needed, heads that do not divide, or inputs of the
            wrong shape, type or range.

    Example:
        >>> conv = EquiformerConv("8x0e+4x1e", irreps_sh="0e+1e", edge_dim=16, heads=2)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 0, 0]])
        >>> conv(torch.randn(3, 20), edge_index, torch.randn(3, 4), torch.randn(3, 16)).shape
        torch.Size([3, 20])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        *,
        irreps_sh: Irreps | str,
        edge_dim: int,
        heads: int = 4,
        irreps_head: Irreps | str | None = None,
        irreps_out: Irreps | str | None = None,
        irreps_pre_attn: Irreps | str | None = None,
        irreps_needed: Irreps | str | None = None,
        attention: AttentionKind = "mlp",
        scalar_score: ScalarScoreKind = "distance",
        kv_heads: int | None = None,
        attend_self: bool = False,
        gate_heads: bool = False,
        linear_attention_heads: int = 0,
        message: MessageKind = "nonlinear",
        radial_hidden: Sequence[int] = (64, 64),
        rescale_degree: bool = False,
        avg_degree: float = AVG_DEGREE,
        attn_dropout: float = 0.0,
        proj_dropout: float = 0.0,
        drop_path: float = 0.0,
        flow: str = "source_to_target",
        engine: EngineKind = "auto",
        checkpoint: Literal["none", "tensor_product"] = "none",
    ) -> None:
        super().__init__(aggr="add", flow=flow, node_dim=0)
        self.engine = check_engine(engine)
        if checkpoint not in ("none", "tensor_product"):
            raise ValueError(f"checkpoint must be 'none' or 'tensor_product', got {checkpoint!r}")
        self.checkpoint = checkpoint
        if attention not in SCORES:
            raise ValueError(f"attention must be one of {tuple(SCORES)}, got {attention!r}")
        if message not in ("nonlinear", "linear"):
            raise ValueError(f"message must be 'nonlinear' or 'linear', got {message!r}")
        if edge_dim < 1:
            raise ValueError(f"edge_dim must be at least 1, got {edge_dim}")
        self.layout_in = Layout(irreps_in)
        self.layout_out = Layout(self.layout_in.irreps if irreps_out is None else irreps_out)
        self.irreps_head = choose_head(self.layout_in, irreps_head, heads, attention)
        self.heads, self.edge_dim, self.attention = heads, edge_dim, attention
        self.kv_heads = check_kv_heads(kv_heads, heads)
        self.rescale_degree, self.avg_degree = rescale_degree, avg_degree
        self.attn_dropout = check_probability(attn_dropout, "attn_dropout")

        pre = self.layout_in.irreps if irreps_pre_attn is None else as_irreps(irreps_pre_attn, "irreps_pre_attn")
        needed = self.irreps_out if irreps_needed is None else as_irreps(irreps_needed, "irreps_needed")
        self._make_product(pre, irreps_sh, message, radial_hidden, needed)
        options: dict[str, Any] = {"scalars": scalar_score} if attention == "distance" else {}
        self.score = SCORES[attention](
            self.product.plan, self.irreps_in, self.irreps_head, heads, self.kv_heads, attend_self, **options
        )
        self._make_values(pre, message, attend_self, gate_heads, linear_attention_heads)
        self.proj_dropout = EquivariantDropout(proj_dropout)
        self.drop_path = DropPath(drop_path)
        self.reset_parameters()

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_sh: Tensor,
        edge_attr: Tensor,
        *,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        table: NeighborTable | None = None,
        couplings: Couplings | None = None,
        mirrored: bool = False,
        chunked: bool = False,
        return_attention_weights: bool = False,
    ) -> Any:
        """Return the new features, see the class.

        `num_graphs`, `table` and `couplings` (of these edges and this table) spare a model finding them per layer.
        `mirrored`: edge k + E/2 is the reverse of edge k, and `edge_attr` [E/2, edge_dim] serves both.
        `chunked`: nothing of the edges is stored, as with `checkpoint="tensor_product"`.
        """
        # A list holds the blocks of a model that stays in the inner layout; a tuple is a bipartite pair.
        flat = not isinstance(x, list)
        row, col = x if isinstance(x, tuple) else (x, x)
        if flat:
            row = check_features(row, self.layout_in)
            col = row if col is x else check_features(col, self.layout_in)
        size = (row[0].shape[0], col[0].shape[0])
        edge_index, index = check_edges(
            edge_index, self.flow, size, edge_sh, edge_attr, edge_weight, self, not flat, mirrored
        )
        source, target = (row, col) if self.flow == "source_to_target" else (col, row)
        if self.linear_attention is not None and isinstance(x, tuple):
            raise ValueError("linear_attention_heads is for graphs of one kind of nodes, got a pair of features")

        if must_show_messages(self):
            table = None
        elif table is None and not torch.compiler.is_compiling():
            table = neighbor_table(index, target[0].shape[0])

        # Compiled code chooses by itself what to store; hooks want to see every message once.
        stored = self.checkpoint == "none" and not chunked
        store = stored or torch.compiler.is_compiling() or must_show_messages(self)
        shared = couplings if store and couplings is not None and couplings.table is table else None

        def attend(src: Blocks, dst: Blocks, target: Blocks, edges: list[Tensor]) -> list[Tensor]:
            return self._attend(src, dst, target, edges, edge_index, size, table, shared)

        given = [edge_sh, edge_attr] if edge_weight is None else [edge_sh, edge_attr, edge_weight]
        groups = self.lin_src.blocks(source), self.lin_dst.blocks(target), target, given
        skip = ("lin_src", "lin_dst", "lin_out", "head_gate", "linear_attention")
        if store:
            alpha, *blocks = attend(*groups)
        elif type(edge_index) is Tensor and edge_index.shape[1] > most_edges(edge_index.device):
            alpha, *blocks = self._attend_in_chunks(edge_index, *groups, skip=skip)
        else:
            alpha, *blocks = recompute_with(self, attend, *groups, skip=skip)
        if self.head_gate is not None:
            blocks = self.head_gate(blocks, target)
        mapped = self.lin_out.blocks(blocks)
        if self.linear_attention is not None:
            mapped[0] = mapped[0] + self.linear_attention(target, batch, num_graphs)
        out: Any = self.drop_path(self.proj_dropout(mapped), batch, num_graphs)
        if flat:
            out = self.layout_out.join(out)
        if not return_attention_weights:
            return out
        if not isinstance(edge_index, Tensor):
            return out, edge_index.set_value(alpha, layout="coo")
        return out, (edge_index, alpha)

    def edge_update(
        self,
        src: List[Tensor],
        dst: List[Tensor],
        target: List[Tensor],
        couplings: Couplings,
        edge_attr: Tensor,
        edge_weight: Optional[Tensor],
        edge_index_i: Tensor,
        edge_index_j: Tensor,
        size_i: Optional[int],
    ) -> Tuple[Any, Any]:
        """Return the attention weights [E, heads] and the values before their last linear map.

        The weights are [E, types, heads] where each type has its own; with `attend_self` those of the targets follow.
        """
        keys, value = self._keys_and_values(Message(src, dst, edge_index_j, edge_index_i), couplings, edge_attr)
        score = self.score(target, keys, edge_index_i)
        assert size_i is not None  # forward always passes sizes
        alpha: Any
        if self.lin_self is None:
            alpha = softmax(score, edge_index_i, size_i, edge_weight)
        else:
            alpha = softmax_with_own(score, self.score.own(target), edge_index_i, edge_weight)
        return alpha, value if self.gate is None else self.gate.blocks(value)

    def _keys_and_values(self, message: Message, couplings: Couplings, edge_attr: Tensor) -> Tuple[Blocks, Any]:
        """Return what score and gate take from the product; for linear messages the product itself as the value."""
        product, x = self.product, message.src[0]
        engine = choose_engine(self.engine, product.plan, x.device, x.dtype)
        if engine != "torch":
            weight, num_edges = self.radial(edge_attr), couplings.edge_sh.shape[0]
            weight = weight if weight.shape[0] == num_edges else torch.cat([weight, weight])
            parts = product.by_engine(engine, message, couplings.edge_sh, weight)
        else:
            edges, matrices = message.dense(), couplings.of(product)
            if self.gate is not None and worth_chunks(matrices, edges):
                linears = [self.score.keys, self.lin_gate]
                keys, value = map_product(product.plan, matrices, edges, self.radial(edge_attr), linears)
                return keys, value
            sizes = [pair.numel for pair in product.plan.pairs]
            parts = product.pairs(edges, couplings.pairs(product), self.radial.pieces(edge_attr, sizes))
        return self.score.keys(parts), parts if self.gate is None else self.lin_gate(parts)

    def message(
        self,
        alpha: Tensor,
        value: Any,
        couplings: Couplings,
        edge_weight: Optional[Tensor],
        table: Any,
    ) -> Any:
        """Return the messages [E, heads · irreps_head.dim]; on the fused path their factors."""
        alpha = nn.functional.dropout(alpha, self.attn_dropout, self.training)
        if edge_weight is not None:
            alpha = alpha * edge_weight.view(-1, *([1] * (alpha.dim() - 1))).to(alpha.dtype)
        if table is not None:
            return alpha, value
        if self.gate is not None:
            value = self.value_product.pairs(value, couplings.pairs(self.value_product))
        value = self.lin_value(value, None if self.gate is None else self.value_weight)
        return self.layout_heads.join([weighed(v, of_type(alpha, k), self.kv_heads) for k, v in enumerate(value)])

    def aggregate(
        self,
        inputs: Any,
        index: Tensor,
        dim_size: Optional[int],
        couplings: Couplings,
        edge_weight: Optional[Tensor],
        table: Any,
    ) -> Any:
        """Sum the messages of each target; return blocks of the heads' irreps."""
        assert dim_size is not None  # forward always passes sizes
        if isinstance(inputs, Tensor):
            out = self.layout_heads.split(segment_sum(inputs, index, dim_size))
        else:
            alpha, value = inputs
            total = segment_sum(of_type(alpha, 0), index, dim_size)
            out = self._sum(alpha, value, total, couplings, table)
        if self.rescale_degree:
            share = torch.ones_like(index, dtype=out[0].dtype) if edge_weight is None else edge_weight
            degree = segment_sum(share, index, dim_size)
            degree = degree if self.attention == "mlp" else degree / self.avg_degree
            out = [block * degree.view(-1, 1, 1) for block in out]
        return out
