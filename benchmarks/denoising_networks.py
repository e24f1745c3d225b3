"""The networks that `denoising.py` compares, called as f(atom_type, pos, batch, edge_index=, edge_attr=) → [N, 3]."""

from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import torch
from torch import Tensor, nn

from pyg_equiformer.data.protein_atoms import num_tokens
from pyg_equiformer.data.protein_edges import NUM_SEPARATIONS
from pyg_equiformer.kernels import segment_sum
from pyg_equiformer.training.protein_denoising import ProteinDenoisingConfig

ATTENTION = ("mlp", "dot", "distance")
NETWORKS = (*ATTENTION, "egnn", "equiformer-pytorch")


def build(name: str, config: ProteinDenoisingConfig) -> tuple[nn.Module, list[str]]:
    """Return a network, and in what it is another than ours, beside its own equations."""
    if name in ATTENTION:
        return replace(config, attention=name).network(avg_degree=15.0), []
    if name == "egnn":
        return EGNN(num_tokens(config.atoms), 64, 4), ["64 scalars per atom, four layers, no features with directions"]
    return EquiformerPytorch(config), [
        "one type-1 channel per atom is read as displacement",
        "16 + 8 + 4 channels, two layers, and the 16 nearest atoms: full tensor products need far more memory",
    ]


class EGNN(nn.Module):
    r"""E(n)-equivariant network (arXiv 2102.09844) that moves the atoms, scaled by distance for stability.

    .. math:: m_{ij} = φ_e(h_i, h_j, d_{ij}^2, e_{ij}), \qquad
        x_i \leftarrow x_i + \frac{1}{n_i} \sum_j \frac{x_i - x_j}{d_{ij} + 1} φ_x(m_{ij}), \qquad
        h_i \leftarrow h_i + φ_h(h_i, \textstyle\sum_j m_{ij})
    """

    def __init__(self, tokens: int, width: int, layers: int) -> None:
        super().__init__()

        def mlp(dim_in: int, dim_out: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(dim_in, width), nn.SiLU(), nn.Linear(width, dim_out))

        self.embed = nn.Embedding(tokens, width)
        self.of_edge = nn.ModuleList(mlp(2 * width + 1 + NUM_SEPARATIONS, width) for _ in range(layers))
        self.of_shift = nn.ModuleList(mlp(width, 1) for _ in range(layers))
        self.of_node = nn.ModuleList(mlp(2 * width, width) for _ in range(layers))

    def forward(
        self, atom_type: Tensor, pos: Tensor, batch: Tensor | None = None, *, edge_index: Tensor, edge_attr: Tensor
    ) -> Tensor:
        h, x, (source, target) = self.embed(atom_type), pos, edge_index
        count = segment_sum(torch.ones_like(x[target, :1]), target, len(x)).clamp(min=1)
        for of_edge, of_shift, of_node in zip(self.of_edge, self.of_shift, self.of_node):
            vec = x[target] - x[source]
            square = vec.square().sum(1, keepdim=True)
            message = torch.nn.functional.silu(
                of_edge(torch.cat([h[target], h[source], square / 10, edge_attr], dim=1))
            )
            shift = vec / (square.sqrt() + 1) * of_shift(message)
            x = x + segment_sum(shift, target, len(x)) / count
            h = h + of_node(torch.cat([h, segment_sum(message, target, len(x)) / count], dim=1))
        return x - pos


class EquiformerPytorch(nn.Module):
    """The dense network of equiformer-pytorch on one chain at a time."""

    def __init__(self, config: ProteinDenoisingConfig) -> None:
        super().__init__()
        from equiformer_pytorch import Equiformer

        with redirect_stdout(StringIO()):  # it tells of the tables that it keeps in the user's home
            self.network = Equiformer(
                num_tokens=num_tokens(config.atoms), dim=(16, 8, 4), dim_head=(4, 4, 4), heads=config.heads,
                num_degrees=3, depth=2, num_neighbors=16, num_edge_tokens=NUM_SEPARATIONS, edge_dim=8,
                radial_hidden_dim=16, reduce_dim_out=True, l2_dist_attention=False,
            )  # fmt: skip

    def forward(
        self, atom_type: Tensor, pos: Tensor, batch: Tensor | None = None, *, edge_index: Tensor, edge_attr: Tensor
    ) -> Tensor:
        edges = torch.full((len(pos), len(pos)), NUM_SEPARATIONS - 1)
        edges[edge_index[1], edge_index[0]] = edge_attr.argmax(1)
        return self.network(atom_type.unsqueeze(0), pos.unsqueeze(0), edges=edges.unsqueeze(0)).type1.view(-1, 3)
