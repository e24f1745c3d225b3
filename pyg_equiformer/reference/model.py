"""The whole published network."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from e3nn import o3
from e3nn.o3 import Irreps
from torch import Tensor, nn

from .attention import AVG_DEGREE, DotProductAttention, GraphAttention, sum_over_edges
from .embedding import AtomEmbedding, ReferenceEdgeDegree
from .layers import FeedForward, Linear, dropout_of, unit_moment
from .norm import reference_norm
from .radial import reference_basis
from .settings import complete, from_config

if TYPE_CHECKING:
    from ..models import EquiformerConfig

AVG_NUM_NODES = 18.03065905448718  # QM9, as published


class ReferenceBlock(nn.Module):
    r"""Norm, attention, residual; norm, feed-forward network, residual.

    Shapes:
        x [N, irreps_in.dim] → [N, irreps_out.dim]
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_sh: Irreps | str,
        irreps_out: Irreps | str,
        irreps_mlp_mid: Irreps | str,
        attention: type[GraphAttention] | type[DotProductAttention],
        norm: str | None,
        drop_path: float,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.attention = "dpa" if attention is DotProductAttention else "ga"
        self.norm_1 = reference_norm(norm, irreps_in)
        self.add_module(self.attention, attention(irreps_in, irreps_sh, irreps_in, **settings))
        self.norm_2 = reference_norm(norm, irreps_in)
        self.ffn = FeedForward(irreps_in, irreps_out, irreps_mlp_mid, settings["proj_drop"])
        self.ffn_shortcut = None if Irreps(irreps_in) == Irreps(irreps_out) else Linear(irreps_in, irreps_out)
        self.drop_path = drop_path

    def forward(self, x: Tensor, edge_index: Tensor, sh: Tensor, scalars: Tensor, batch: Tensor) -> Tensor:
        attention = self.get_submodule(self.attention)
        x = x + self._drop(attention(self.norm_1(x, batch), edge_index, sh, scalars), batch)
        y = self._drop(self.ffn(self.norm_2(x, batch)), batch)
        return (x if self.ffn_shortcut is None else self.ffn_shortcut(x)) + y

    def _drop(self, y: Tensor, batch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return y
        graphs = y.new_ones(int(batch.max()) + 1, 1)
        return y * nn.functional.dropout(graphs, self.drop_path)[batch]


class ReferenceEquiformer(nn.Module):
    r"""The published Equiformer (arXiv 2206.11990) with e3nn operations and published parameter names.

    Args:
        cls: `GraphAttentionTransformer` or `DotProductAttentionTransformer`, as it is for QM9 or with `MD17`
            appended for energies and forces.
        ctor: arguments of its constructor.
        dtype: precision of weights and fixed tensors (3j symbols rounded to float32 stay so); None: torch's
            default.
        avg_num_nodes, avg_degree: averages that sums over atoms and edges are scaled by (square root).

    Shapes:
        z [N], pos [N, 3] in Å, batch [N], optionally edge_index [2, E] → [B, 1]; with `MD17` a pair of
        energy [B, 1] and forces [N, 3]

    Raises:
        ValueError: for a class, an argument or an element that the published code does not know.

    Example:
        >>> small = {"irreps_node_embedding": "4x0e+2x1e", "irreps_head": "2x0e+1x1e", "irreps_mlp_mid": "4x0e",
        ...          "irreps_feature": "4x0e", "num_layers": 1, "number_of_basis": 8}
        >>> model = ReferenceEquiformer("GraphAttentionTransformer", small)
        >>> model(torch.tensor([8, 1, 1]), torch.randn(3, 3)).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        cls: str,
        ctor: Mapping[str, Any],
        *,
        dtype: torch.dtype | None = None,
        avg_num_nodes: float = AVG_NUM_NODES,
        avg_degree: float = AVG_DEGREE,
    ) -> None:
        super().__init__()
        kind, args = complete(cls, ctor)
        self.elements, self.forces = kind.elements, kind.forces
        self.cutoff, self.scale, self.avg_num_nodes = args["max_radius"], args["scale"], avg_num_nodes
        self.irreps_sh = Irreps(args["irreps_sh"])
        with _default_dtype(dtype):
            self._make(kind.attention, args, avg_degree)

    def _make(
        self, attention: type[GraphAttention] | type[DotProductAttention], args: dict[str, Any], avg_degree: float
    ) -> None:
        irreps, feature, num_layers = args["irreps_node_embedding"], args["irreps_feature"], args["num_layers"]
        settings = {
            "fc_neurons": [args["number_of_basis"], *args["fc_neurons"]],
            **{k: args[k] for k in ("irreps_head", "num_heads", "irreps_pre_attn", "rescale_degree")},
            **{k: args[k] for k in ("nonlinear_message", "alpha_drop", "proj_drop")},
            "avg_degree": avg_degree,
        }
        self.atom_embed = AtomEmbedding(self.elements, irreps)
        self.rbf = reference_basis(args["basis_type"], args["number_of_basis"], self.cutoff)
        self.edge_deg_embed = ReferenceEdgeDegree(irreps, self.irreps_sh, settings["fc_neurons"], avg_degree)
        self.blocks = nn.ModuleList(
            ReferenceBlock(
                irreps,
                self.irreps_sh,
                irreps if k < num_layers - 1 else feature,
                args["irreps_mlp_mid"],
                attention,
                args["norm_layer"],
                args["drop_path_rate"],
                **settings,
            )
            for k in range(num_layers)
        )
        self.norm = reference_norm(args["norm_layer"], feature)
        self.out_dropout = dropout_of(feature, args["out_drop"])
        self.head: nn.Module
        if args["use_attn_head"]:
            self.head = attention(feature, self.irreps_sh, "1x0e", **settings)
        else:
            activation = unit_moment(nn.functional.silu)
            self.head = nn.Sequential(Linear(feature, feature), activation, Linear(feature, "1x0e"))

    @classmethod
    def from_config(cls, config: "EquiformerConfig", dtype: torch.dtype | None = None) -> "ReferenceEquiformer":
        """Return the reference of one of our configurations, with new weights.

        Raises:
            ValueError: for a setting that the published code does not have.
        """
        name, ctor = from_config(config)
        averages = {"avg_num_nodes": config.avg_num_nodes, "avg_degree": config.avg_degree}
        return cls(name, ctor, dtype=dtype, **averages)

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None, edge_index: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        batch = torch.zeros_like(z) if batch is None else batch
        edge_index = dense_radius_graph(pos.detach(), self.cutoff, batch) if edge_index is None else edge_index
        if not self.forces:
            return self.energy(z, pos, batch, edge_index)
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            pos = pos if pos.requires_grad else pos.detach().requires_grad_()
            energy = self.energy(z, pos, batch, edge_index)
            (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=create_graph)
        return (energy if create_graph else energy.detach()), -gradient

    def edge_features(self, pos: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return edge vectors [E, 3] in Å, harmonics [E, irreps_sh.dim] and radial basis [E, number_of_basis]."""
        vec = pos[edge_index[0]] - pos[edge_index[1]]
        sh = o3.spherical_harmonics(self.irreps_sh, vec, normalize=True, normalization="component")
        return vec, sh, self.rbf(vec.norm(dim=1))

    def energy(self, z: Tensor, pos: Tensor, batch: Tensor, edge_index: Tensor) -> Tensor:
        """Return the output per graph [B, 1]."""
        _, sh, scalars = self.edge_features(pos, edge_index)
        edges = (edge_index, sh, scalars)
        x = self.atom_embed(z) + self.edge_deg_embed(*edges, num_nodes=len(z))
        for block in self.blocks:
            x = block(x, *edges, batch)
        x = self.out_dropout(self.norm(x, batch))
        out = self.head(x) if isinstance(self.head, nn.Sequential) else self.head(x, *edges)
        total = sum_over_edges(out, batch, int(batch.max()) + 1) / math.sqrt(self.avg_num_nodes)
        return total if self.scale is None else self.scale * total


def dense_radius_graph(pos: Tensor, cutoff: float, batch: Tensor) -> Tensor:
    """Return all pairs (source, target) of one graph that are nearer than the cutoff, sorted by target.

    Example:
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
        >>> dense_radius_graph(pos, 1.5, torch.zeros(3)).tolist()
        [[1, 0], [0, 1]]
    """
    near = (pos[:, None] - pos[None, :]).norm(dim=2) < cutoff
    near &= batch[:, None] == batch[None, :]
    target, source = near.fill_diagonal_(False).nonzero(as_tuple=True)
    return torch.stack([source, target])


@contextmanager
def _default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Make tensors of this precision while e3nn builds its constants."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(before if dtype is None else dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
