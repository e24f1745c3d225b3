"""What is done with attention weights: [·, heads], or [·, types, heads] where each irrep type has its own."""

import torch
from einops import rearrange
from torch import Tensor

from ..kernels import segment_softmax
from ..nn import share_heads


def of_type(alpha: Tensor, k: int) -> Tensor:
    """Return the weights for the k-th type of a head [·, heads]."""
    return alpha if alpha.dim() == 2 else alpha[:, k]


def weighed(value: Tensor, alpha: Tensor, kv_heads: int) -> Tensor:
    """Return values [·, d, kv_heads · C], shared by the heads and times their weights, [·, d, heads · C]."""
    shared = share_heads(rearrange(value, "e m (g c) -> e m g c", g=kv_heads), alpha.shape[1], dim=2)
    return (shared * rearrange(alpha, "e h -> e 1 h 1")).flatten(2)


def softmax(score: Tensor, index: Tensor, num_nodes: int, edge_weight: Tensor | None) -> Tensor:
    """Return the softmax of scores over the edges of each target, see `segment_softmax`."""
    return segment_softmax(score.flatten(1), index, num_nodes, edge_weight).view_as(score)


def softmax_with_own(score: Tensor, own: Tensor, index: Tensor, edge_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the weights of edges and of the targets themselves, which share a softmax; `own` are their scores."""
    num_nodes = own.shape[0]
    targets = torch.cat([index, torch.arange(num_nodes, device=index.device)])
    weight = None if edge_weight is None else torch.cat([edge_weight, edge_weight.new_ones(num_nodes)])
    alpha = softmax(torch.cat([score, own]), targets, num_nodes, weight)
    of_edges, of_nodes = torch.split(alpha, [score.shape[0], num_nodes])
    return of_edges, of_nodes
