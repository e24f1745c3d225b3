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


def sequence_neighbors(seq_pos: Tensor, batch: Tensor | None = None, reach: int = 1) -> Tensor:
    """Return the pairs of atoms in one residue or in residues near each other along a chain.

    Args:
        seq_pos: position of each atom's residue in the sequence [N], in any order.
        batch: graph or chain of each atom [N]. None: one.
        reach: how many residues are looked at in both directions.

    Shapes:
        → [2, E], both directions of each pair, in time and memory linear in E

    Example:
        >>> sequence_neighbors(torch.tensor([0, 1, 2]))
        tensor([[1, 0, 2, 1],
                [0, 1, 1, 2]])
    """
    place = seq_pos - seq_pos.min() if seq_pos.numel() else seq_pos
    if batch is not None and seq_pos.numel():
        place = place + batch * (int(place.max()) + reach + 1)  # chains do not touch each other
    ordered, order = place.sort(stable=True)
    first = torch.searchsorted(ordered, place - reach)
    count = torch.searchsorted(ordered, place + reach, right=True) - first
    target = torch.arange(len(place), device=place.device).repeat_interleave(count)
    within = torch.arange(len(target), device=place.device) - (count.cumsum(0) - count)[target]
    source = order[first[target] + within]
    return torch.stack([source, target])[:, source != target]


class ProteinGraph(BaseTransform):
    """Add `edge_index` [2, E] and `edge_attr` [E, 8], see `sequence_separation`.

    Edges are all pairs nearer than a cutoff, and those of `sequence_neighbors`, however far noise has moved them apart.
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
        near = self.radius_graph(data)[keys.RADIUS_EDGE_INDEX]
        pairs = torch.cat([near, sequence_neighbors(data.seq_pos, data.get(keys.BATCH))], dim=1)
        count = max(1, data.pos.shape[0])
        code = torch.unique(pairs[1] * count + pairs[0])  # each once, sorted by target
        data.edge_index = torch.stack([code % count, code // count])
        data.edge_attr = sequence_separation(data.seq_pos, data.edge_index).to(data.pos.dtype)
        return data
