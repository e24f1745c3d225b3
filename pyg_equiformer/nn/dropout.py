"""Dropout that keeps equivariance."""

import torch
from torch import Tensor, nn

from ..o3 import Blocks


def check_probability(p: float, name: str) -> float:
    """Return `p`, or raise a ValueError that names the argument if it is not in [0, 1)."""
    if not 0.0 <= p < 1.0:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {p}")
    return float(p)


class EquivariantDropout(nn.Module):
    """Drops whole channels: all 2l+1 components of a channel of an atom together.

    Args:
        p: probability that a channel is dropped.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = check_probability(p, "dropout")

    def forward(self, x: Blocks) -> Blocks:
        if not self.training or self.p == 0:
            return x
        ones = [torch.ones_like(b[..., :1, :]) for b in x]
        return [b * nn.functional.dropout(one, self.p) for b, one in zip(x, ones)]

    def extra_repr(self) -> str:
        return f"p={self.p}"


class DropPath(nn.Module):
    """Drops a residual branch for whole graphs (stochastic depth, arXiv 1603.09382).

    Args:
        p: probability that the branch of a graph is dropped; others are scaled by 1/(1-p).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = check_probability(p, "drop_path")

    def forward(self, x: Blocks, batch: Tensor | None = None, num_graphs: int | None = None) -> Blocks:
        if not self.training or self.p == 0:
            return x
        if batch is None:
            batch, num_graphs = torch.zeros(x[0].shape[0], dtype=torch.long, device=x[0].device), 1
        if num_graphs is None:
            num_graphs = int(batch.max()) + 1 if batch.numel() else 0
        keep = nn.functional.dropout(torch.ones(num_graphs, 1, 1, device=x[0].device), self.p)
        return [b * keep[batch].to(b.dtype) for b in x]

    def extra_repr(self) -> str:
        return f"p={self.p}"
