"""A layer that computes its edges again instead of storing them."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EquiformerConv

from .samples import edge_weights, every_kind, make_conv, make_graph


def run(conv: EquiformerConv, checkpoint: str) -> tuple[list[Tensor], int]:
    """Return output, gradients and second gradients, and the numbers stored by the forward pass."""
    conv.checkpoint = checkpoint
    graph, u = make_graph(conv), edge_weights(14).requires_grad_()
    x = [v.detach().requires_grad_() for v in (graph.x, graph.edge_sh, graph.edge_attr)]
    stored = 0

    def count(t: Tensor) -> Tensor:
        nonlocal stored
        stored += t.numel() if t.shape[:1] == (14,) else 0
        return t

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        out = conv(x[0], graph.edge_index, x[1], x[2], edge_weight=u)
    inputs = [*x, u]
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), [*inputs, *conv.parameters()], allow_unused=True)
    return [out, *first, *(torch.zeros(()) if g is None else g for g in second)], stored


@every_kind
def test_all_gradients_are_those_of_the_layer_that_stores(attention: str, message: str) -> None:
    conv = make_conv("SE(3)", attention=attention, message=message, attn_dropout=0.3)
    (expected, much), (found, little) = run(conv, "none"), run(conv, "tensor_product")
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b.expand_as(a), rtol=1e-9, atol=1e-9)
    assert little < much / 3


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="checkpoint must be 'none' or 'tensor_product', got 'all'"):
        EquiformerConv("4x0e", irreps_sh="0e", edge_dim=2, heads=2, checkpoint="all")
