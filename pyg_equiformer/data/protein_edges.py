"""Neighbours of the atoms of a protein, and what their places in the sequence tell of each pair."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from .. import keys
from .transforms import RadiusGraph

NEAR = 3  #: residues along the chain, in both directions, that are told apart
NUM_SEPARATIONS = 2 * NEAR + 2  #: features of an edge: −3 … 3 and "further"


def sequence_separation(seq_pos: Tensor, edge_index: Tensor) -> Tensor:
    r"""Tell for each edge how far its source stands along the chain from its target.

    .. math:: f_{ij} = \mathrm{onehot}(p_j - p_i), \quad |p_j - p_i| \le 3, \quad \text{or "further"}

    Args:
        seq_pos: position p of each atom's residue in the sequence [N].
        edge_index: [source, target] of each edge [2, E].

    Shapes:
        → [E, 8]

    Example:
        >>> sequence_separation(torch.tensor([0, 1, 9]), torch.tensor([[1, 2], [0, 0]])).argmax(1)
        tensor([4, 7])
    """
    source, target = edge_index
    offset = seq_pos[source] - seq_pos[target]
    kind = torch.where(offset.abs() <= NEAR, offset + NEAR, NUM_SEPARATIONS - 1)
    return F.one_hot(kind, NUM_SEPARATIONS)


class ProteinGraph(BaseTransform):
    """Add `edge_index` [2, E], all pairs nearer than a cutoff, and `edge_attr` [E, 8], see `sequence_separation`.

    Use it after noise was added, so that the edges tell nothing of where the atoms were.

    Args:
        cutoff: in Å.

    Raises:
        ValueError: if the cutoff is out of range, or the data has no positions or no `seq_pos`.

    Example:
        >>> data = Data(pos=torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]), seq_pos=torch.tensor([0, 1]))
        >>> ProteinGraph(5.0)(data).edge_attr.shape
        torch.Size([2, 8])
    """

    def __init__(self, cutoff: float) -> None:
        self.radius_graph = RadiusGraph(cutoff)

    def forward(self, data: Data) -> Data:
        if data.get("seq_pos") is None:
            raise ValueError(f"expected chains of read_protein_chains with 'seq_pos' [N], got fields {data.keys()}")
        edge_index = self.radius_graph(data)[keys.RADIUS_EDGE_INDEX]
        data.edge_index = edge_index
        data.edge_attr = sequence_separation(data.seq_pos, edge_index).to(data.pos.dtype)
        return data
