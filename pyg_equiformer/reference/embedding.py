"""First features of the atoms: from their elements, and from their neighbours."""

import math
from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from .attention import AVG_DEGREE, sum_over_edges
from .layers import DepthwiseProduct, Linear, RadialMLP


class AtomEmbedding(nn.Module):
    """A linear map of the one-hot vector of the atom's type."""

    def __init__(self, elements: tuple[int, ...], irreps: Irreps | str) -> None:
        super().__init__()
        self.elements = elements
        self.atom_type_lin = Linear(f"{len(elements)}x0e", irreps)
        with torch.no_grad():
            self.atom_type_lin.tp.weight.mul_(math.sqrt(len(elements)))

    def forward(self, z: Tensor) -> Tensor:
        one_hot = z[:, None] == z.new_tensor(self.elements)
        if not bool(one_hot.any(dim=1).all()):
            raise ValueError(f"expected atomic numbers among {self.elements}, got {sorted(set(z.tolist()))}")
        return self.atom_type_lin(one_hot.to(self.atom_type_lin.tp.weight.dtype))


class ReferenceEdgeDegree(nn.Module):
    r"""Edge-degree embedding: a learned 0e vector times harmonics, radial weights, linear, sum over edges.

    Shapes:
        edge_index [2, E], sh [E, irreps_sh.dim], scalars [E, fc_neurons[0]] → [num_nodes, irreps.dim]
    """

    def __init__(
        self,
        irreps: Irreps | str,
        irreps_sh: Irreps | str,
        fc_neurons: Sequence[int],
        avg_degree: float = AVG_DEGREE,
    ) -> None:
        super().__init__()
        self.exp = Linear("1x0e", irreps)
        self.dw = DepthwiseProduct(irreps, irreps_sh, irreps)
        self.rad = RadialMLP([*fc_neurons, self.dw.tp.weight_numel])
        self.proj = Linear(self.dw.irreps_out, irreps)
        self.avg_degree = avg_degree

    def forward(self, edge_index: Tensor, sh: Tensor, scalars: Tensor, num_nodes: int) -> Tensor:
        source, target = edge_index
        x = self.exp(scalars.new_ones(num_nodes, 1))
        messages = self.proj(self.dw(x[source], sh, self.rad(scalars)))
        return sum_over_edges(messages, target, num_nodes) / math.sqrt(self.avg_degree)
