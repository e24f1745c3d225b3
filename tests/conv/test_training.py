"""What acts in training only, and where the weights start."""

import torch

from pyg_equiformer import EquiformerConv

from .samples import (
    GROUPS,
    KINDS,
    every_message,
    make_conv,
    make_graph,
)

RING = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])


@every_message
def test_attention_dropout_acts_in_training_only_and_alike_with_and_without_hooks(message: str) -> None:
    conv = make_conv(message=message, attn_dropout=0.5)
    graph = make_graph(conv)
    torch.manual_seed(3)
    dropped, dropped_again = conv(*graph), conv(*graph)
    assert not torch.allclose(dropped, dropped_again)
    conv.register_message_forward_hook(lambda *_: None)
    torch.manual_seed(3)
    assert torch.allclose(conv(*graph), dropped, rtol=0, atol=1e-12)
    conv.eval()
    assert torch.equal(conv(*graph), conv(*graph))
    plain = make_conv(message=message)
    assert torch.allclose(conv(*graph), plain(*graph), rtol=0, atol=1e-12)


def test_attention_dropout_keeps_the_expectation() -> None:
    conv = make_conv(attn_dropout=0.3)
    graph = make_graph(conv)
    torch.manual_seed(0)
    with torch.no_grad():
        mean = torch.stack([conv(*graph) for _ in range(600)]).mean(0)
    assert torch.allclose(mean, conv.eval()(*graph), atol=0.3)


def test_projection_dropout_drops_whole_channels_of_the_output() -> None:
    conv = make_conv(proj_dropout=0.5)
    graph = make_graph(conv, RING)
    plain = conv.eval()(*graph)
    torch.manual_seed(0)
    out = conv.train()(*graph)
    kept = 0
    for a, b in zip(conv.layout_out.split(out), conv.layout_out.split(plain), strict=True):
        fate = (a / b)[:, :1].round(decimals=9)
        assert torch.allclose(a, fate * b)
        assert set(fate.flatten().tolist()) <= {0.0, 2.0}
        kept += int((fate > 0).sum())
    assert 0 < kept < 6 * 8


def test_drop_path_drops_the_output_of_whole_graphs() -> None:
    conv = make_conv(drop_path=0.5)
    graph = make_graph(conv, RING)
    batch = torch.tensor([0, 1, 2, 0, 1, 2])
    plain = conv.eval()(*graph)
    torch.manual_seed(0)
    conv.train()
    fates = set()
    for _ in range(10):
        fate = (conv(*graph, batch=batch, num_graphs=3) / plain).round(decimals=9)
        assert torch.equal(fate, fate[:3, :1].repeat(2, 1).expand_as(fate))
        fates.add(tuple(fate[:3, 0].tolist()))
    assert len(fates) > 2


def test_reset_parameters_changes_all_weights_and_repeats_with_the_seed() -> None:
    for attention, message in KINDS:
        conv = EquiformerConv(
            GROUPS["SE(3)"]["irreps_in"], irreps_sh="0e+1e", edge_dim=3, heads=2, attention=attention, message=message
        )
        states = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            conv.reset_parameters()
            states.append({name: p.detach().clone() for name, p in conv.named_parameters()})
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
        # Biases and layer norms start at constants.
        same = {k for k in states[0] if torch.equal(states[0][k], states[2][k])}
        assert all(k.endswith("bias") or "hidden.1" in k or "hidden.4" in k for k in same), same


def test_a_new_layer_repeats_with_the_seed() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(EquiformerConv("4x0e+2x1e", irreps_sh="0e+1e", edge_dim=3, heads=2).state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
