"""First and second derivatives of EquiformerConv, by inputs and weights, and its gradients in low precision."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from .samples import (
    KINDS,
    every_device,
    every_kind,
    every_message,
    make_conv,
    make_graph,
)


@every_kind
def test_first_and_second_derivatives_pass_gradcheck(attention: str, message: str) -> None:
    conv = make_conv(irreps_in="2x0e+2x1e", irreps_sh="0e+1e", attention=attention, message=message, radial_hidden=(3,))
    x, edge_index, edge_sh, edge_attr = make_graph(conv, torch.tensor([[1, 2, 0], [0, 0, 2]]), num_nodes=3)
    u = torch.tensor([0.3, 0.7, 1.0], dtype=torch.float64)
    inputs = [v.requires_grad_() for v in (x, edge_sh, edge_attr, u)]

    def layer(x, edge_sh, edge_attr, u):
        return conv(x, edge_index, edge_sh, edge_attr, edge_weight=u)

    assert gradcheck(layer, inputs, fast_mode=True)
    assert gradgradcheck(layer, inputs, fast_mode=True)


@every_message
def test_derivatives_by_the_weights_pass_gradcheck_and_gradgradcheck(message: str) -> None:
    conv = make_conv(irreps_in="2x0e+2x1e", irreps_sh="0e+1e", message=message, radial_hidden=(3,))
    graph = make_graph(conv, torch.tensor([[1, 2, 0], [0, 0, 2]]), num_nodes=3)
    names, weights = zip(*conv.named_parameters())

    def layer(*weights):
        return torch.func.functional_call(conv, dict(zip(names, weights)), tuple(graph))

    assert gradcheck(layer, weights, fast_mode=True)
    assert gradgradcheck(layer, weights, fast_mode=True)


@pytest.mark.sparse
@every_kind
def test_derivatives_are_the_same_with_and_without_torch_scatter(
    attention: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch_scatter")
    import torch_geometric.typing

    conv = make_conv(attention=attention, message=message)
    graph = make_graph(conv)
    inputs = [graph.x.requires_grad_(), graph.edge_sh.requires_grad_(), graph.edge_attr.requires_grad_()]
    results = []
    for present in (True, False):
        monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", present)
        first = torch.autograd.grad(conv(*graph).sin().sum(), inputs, create_graph=True)
        results.append((*first, *torch.autograd.grad(sum(g.square().sum() for g in first), inputs)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert gradgradcheck(lambda x: conv(x, *graph[1:]), graph.x, fast_mode=True)


@every_device
@every_kind
def test_bf16_autocast_stays_close_to_float32(attention: str, message: str, device: str) -> None:
    conv = make_conv(attention=attention, message=message).to(device, torch.float32)
    graph = make_graph(conv, device=device)
    expected = conv(*graph)
    with torch.autocast(device, dtype=torch.bfloat16):
        out = conv(*graph)
        loss = out.float().square().sum()
    assert (out.float() - expected).abs().max() < 0.05 * expected.abs().max()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in conv.parameters() if p.requires_grad)


def test_every_weight_gets_a_gradient() -> None:
    for attention, message in KINDS:
        conv = make_conv(attention=attention, message=message)
        conv(*make_graph(conv)).square().sum().backward()
        silent = [name for name, p in conv.named_parameters() if p.grad is None or not p.grad.any()]
        assert not silent
