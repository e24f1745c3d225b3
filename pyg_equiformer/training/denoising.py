"""Denoising as an auxiliary task: corrupted positions, and the loss on the noise that is to be found again."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from .. import keys
from ..data import RadiusGraph
from ..neighbors import radius_graph


class Corrupted(NamedTuple):
    """A batch with moved atoms.

    Args:
        batch: the structures, with their neighbours as they now are.
        noise: displacements [N, 3] in Å, zero where an atom was not moved.
        moved: which atoms were moved [N].
    """

    batch: Batch
    noise: Tensor
    moved: Tensor


def corrupt(batch: Batch, *, std: float, probability: float, fraction: float, cutoff: float) -> Corrupted:
    r"""Move atoms of some structures by Gaussian noise.

    .. math:: \tilde x_i = x_i + \epsilon_i, \quad \epsilon_i \sim N(0, \sigma^2)
        \quad \text{with probability } p \text{ per structure and } r \text{ per atom}

    Noisy Nodes (arXiv 2106.07971) keeps the labels of a structure near its equilibrium and learns the noise beside
    them. DeNS (arXiv 2403.09549) shows the model the forces on the moved atoms, which tell it the structure that the
    labels belong to; there the force labels of moved atoms do not count.

    Args:
        batch: structures with `pos` [N, 3] in Å; it is left as it is.
        std: standard deviation σ of the noise in Å.
        probability: p, that a structure is corrupted.
        fraction: r, the part of its atoms that are moved.
        cutoff: radius in Å of the neighbour lists.

    Example:
        >>> data = Data(z=torch.tensor([1, 1]), pos=torch.tensor([[0.0, 0.0, 0.0], [0.7, 0.0, 0.0]]))
        >>> out = corrupt(Batch.from_data_list([data]), std=0.1, probability=1.0, fraction=1.0, cutoff=5.0)
        >>> bool(out.moved.all()), out.batch.radius_edge_index.shape
        (True, torch.Size([2, 2]))
    """
    pos, graph = batch[keys.POS], batch[keys.BATCH]
    chosen = torch.rand(batch.num_graphs, device=pos.device) < probability
    moved = chosen[graph] & (torch.rand(pos.shape[0], device=pos.device) < fraction)
    noise = torch.randn_like(pos) * std * moved.unsqueeze(1)
    changed = batch.clone()
    changed[keys.POS] = pos + noise
    return Corrupted(_renew_neighbors(changed, cutoff), noise, moved)


def _renew_neighbors(batch: Batch, cutoff: float) -> Batch:
    if keys.RADIUS_EDGE_SHIFT not in batch:
        batch[keys.RADIUS_EDGE_INDEX] = radius_graph(batch[keys.POS], cutoff, batch[keys.BATCH])
        return batch
    device = batch[keys.POS].device
    parts: list[Data] = [RadiusGraph(cutoff)(structure) for structure in batch.cpu().to_data_list()]
    return Batch.from_data_list(parts).to(device)
