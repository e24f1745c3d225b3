"""Structures to look into."""

import torch
from torch_geometric.data import Batch, Data

WATER = [[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]


def molecules() -> Batch:
    """Two molecules, near enough to have edges of every length."""
    pos = 1.4 * torch.randn(6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    water = Data(z=torch.tensor([8, 1, 1]), pos=torch.tensor(WATER, dtype=torch.float64))
    return Batch.from_data_list([Data(z=torch.tensor([6, 1, 1, 8, 7, 1]), pos=pos), water])


def periodic() -> Data:
    """A crystal whose atoms are neighbours of their own images."""
    cell = torch.tensor([[[3.2, 0.0, 0.0], [0.4, 3.4, 0.0], [0.0, 0.3, 3.1]]], dtype=torch.float64)
    pos = torch.tensor([[0.0, 0.0, 0.0], [1.5, 1.6, 1.4]], dtype=torch.float64)
    return Data(z=torch.tensor([11, 17]), pos=pos, cell=cell, pbc=torch.ones(1, 3, dtype=torch.bool))
