"""What an atom learns from the number and directions of its neighbours alone."""

from collections.abc import Sequence
from typing import Any, Optional  # PyG's inspector knows no other spelling

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from ..kernels import NeighborTable, attention_sum, neighbor_table, recompute_with, segment_sum
from ..nn import PathLinear, RadialMLP
from ..o3 import SCALAR, Blocks, Layout, check_irreps_sh, count, coupling_plan
from .checks import must_show_messages
from .chunks import Chunk, TargetChunks


class EdgeDegreeEmbedding(MessagePassing):
    r"""Edge-degree embedding (arXiv 2206.11990, §4.1).

    .. math:: y_i = \frac{1}{\sqrt{\bar d}} \, W \sum_j s \otimes_{w(r_{ij})} Y(\hat r_{ij}) + b

    with a learned scalar vector s. As s is the same for all atoms, only harmonics times radial weights are
    summed over the edges.

    Args:
        irreps_out: irreps of the output; needs 0e.
        irreps_sh: irreps of the edge harmonics, each once.
        edge_dim: number of edge scalars.
        radial_hidden: hidden widths of the radial network.
        avg_degree: the average degree :math:`\bar d`.

    Shapes:
        edge_index [2, E], edge_sh [E, irreps_sh.dim], edge_attr [E, edge_dim], edge_weight [E] (smooth cutoff,
        optional) → blocks of irreps_out for each of `num_nodes` atoms

    Raises:
        ValueError: if `irreps_out` has no 0e.
    """

    def __init__(
        self,
        irreps_out: Irreps | str,
        *,
        irreps_sh: Irreps | str,
        edge_dim: int,
        radial_hidden: Sequence[int] = (64, 64),
        avg_degree: float = 15.57930850982666,
    ) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.layout_out = Layout(irreps_out)
        channels = count(self.irreps_out, SCALAR)
        if channels == 0:
            raise ValueError(f"irreps_out needs 0e channels for the edge-degree embedding, got {self.irreps_out}")
        self.avg_degree = float(avg_degree)
        self.irreps_sh = check_irreps_sh(irreps_sh)
        plan = coupling_plan(self.layout_out, self.irreps_sh, self.irreps_out)
        self.scalar_weight = nn.Parameter(torch.empty(channels))
        self.scalar_bias = nn.Parameter(torch.empty(channels))
        self.radial = RadialMLP(edge_dim, radial_hidden, plan.weight_numel)
        self.lin = PathLinear(plan, irreps_out)
        # Only scalars enter the product, so only the pairs that start from 0e are ever needed.
        self._channels = channels
        rows: list[int] = []
        self._outputs: list[int] = []
        self._harmonics: list[slice] = []
        start = 0
        for pair in plan.pairs:
            if plan.layout_in.types[pair.i_in] == SCALAR:
                rows += range(start, start + pair.numel)
                self._outputs.append(pair.i_out)
                self._harmonics.append(self.irreps_sh.slices()[pair.harmonics[0]])
            start += pair.numel
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        self.reset_parameters()

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.scalar_weight)
        nn.init.zeros_(self.scalar_bias)
        self.radial.reset_parameters()
        self.lin.reset_parameters()

    def forward(
        self,
        edge_index: Tensor,
        edge_sh: Tensor,
        edge_attr: Tensor,
        *,
        num_nodes: int,
        edge_weight: Tensor | None = None,
        table: NeighborTable | None = None,
        mirrored: bool = False,
        chunked: bool = False,
    ) -> Blocks:
        """Return the embedding, see the class; `chunked`: nothing of the edges is stored for the gradients."""
        given = [edge_sh, edge_attr] if edge_weight is None else [edge_sh, edge_attr, edge_weight]
        if not chunked or must_show_messages(self):
            return self._embed(edge_index, given, num_nodes, table, mirrored)
        parts = []
        for chunk in TargetChunks(edge_index, 1, num_nodes).of(given):

            def embed(edges: list[Tensor], chunk: Chunk = chunk) -> Blocks:
                near = neighbor_table(chunk.edge_index[1], chunk.num_targets)
                return self._embed(chunk.edge_index, edges, chunk.num_targets, near, False)

            parts.append(recompute_with(self, embed, chunk.edges))
        return [torch.cat(list(blocks)) for blocks in zip(*parts)]

    def _embed(
        self, edge_index: Tensor, edges: list[Tensor], num_nodes: int, table: NeighborTable | None, mirrored: bool
    ) -> Blocks:
        edge_sh, edge_attr = edges[:2]
        edge_weight = edges[2] if len(edges) > 2 else None
        share = edge_sh.new_ones(edge_sh.shape[0], 1) if edge_weight is None else edge_weight.unsqueeze(1)
        weight = self.radial(edge_attr, self.rows)
        weight = (torch.cat([weight, weight]) if mirrored else weight) * share
        if must_show_messages(self):
            table = None
        size = (None, num_nodes)  # the sources have no features
        return self.propagate(edge_index, weight=weight, edge_sh=edge_sh, share=share, table=table, size=size)

    def message(self, weight: Tensor, edge_sh: Tensor, share: Tensor, table: Any) -> Any:
        """Return [E, 1 + Σ (2l+1)·C]: the edge's share of the bias, then harmonics times weights."""
        if table is not None:
            return weight, edge_sh, share
        columns = torch.split(weight, self._channels, dim=1)
        outer = [edge_sh[:, h].unsqueeze(2) * w.unsqueeze(1) for h, w in zip(self._harmonics, columns)]
        return torch.cat([share, *(o.flatten(1) for o in outer)], dim=1)

    def aggregate(self, inputs: Any, index: Tensor, dim_size: Optional[int], table: Any) -> Any:
        """Sum over the edges of each target, then couple and map; return blocks."""
        assert dim_size is not None  # forward always passes sizes
        widths = [h.stop - h.start for h in self._harmonics]
        if isinstance(inputs, Tensor):
            total, *flat = torch.split(
                segment_sum(inputs, index, dim_size), [1] + [d * self._channels for d in widths], dim=1
            )
            summed = [f.unflatten(1, (1, d, self._channels)) for f, d in zip(flat, widths)]
        else:
            weight, edge_sh, share = inputs
            total = segment_sum(share, index, dim_size)
            columns = torch.split(weight, self._channels, dim=1)
            sums = [attention_sum([w.unsqueeze(1)], edge_sh[:, h], table)[0] for h, w in zip(self._harmonics, columns)]
            summed = [s.transpose(1, 2) for s in sums]
        scalars = self.scalar_weight + self.scalar_bias
        parts: list[list[Tensor]] = [[] for _ in self.lin.plan.channels_out]
        for k, s in zip(self._outputs, summed):
            parts[k].append(s * scalars)
        out = self.lin.per_head(parts, 1, total)
        return [block / self.avg_degree**0.5 for block in out]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_out}, irreps_sh={self.irreps_sh}, avg_degree={self.avg_degree:.4g})"
