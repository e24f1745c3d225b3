"""Orders of irreps in which the published code does what a layer of ours does, and those in which it does not."""

import pytest
import torch
from e3nn.o3 import Irreps, rand_matrix

from pyg_equiformer import Equiformer, load_model, load_official, save_model, to_official_state_dict
from pyg_equiformer.checkpoints.official_heads import head_entries, pair_entries
from pyg_equiformer.conv import ParityBlindConv

from .test_official_variants import DP, DP_MD, E3, GA, LINEAR, SE3, check_variant, reference_of, sizes

SORTED_ODD, SORTED_EVEN = "2x0o+3x0e+1x1o+2x1e+1x2o+1x2e", "3x0e+2x0o+2x1e+1x1o+1x2e+1x2o"
EQUAL = "2x0e+2x0o+1x1o+1x1e+1x2e"
ANY_DEGREE = "2x1e+3x0e+1x2e"

KEPT = [
    *[(cls, {**E3, "irreps_head": head}) for cls in (DP, DP_MD) for head in (SORTED_ODD, EQUAL, "2x0e+2x0o+1x0e")],
    *[(GA, {**E3, **message, "irreps_head": EQUAL}) for message in ({}, LINEAR)],
    *[(GA, {**SE3, **message, "irreps_head": ANY_DEGREE, "num_heads": 1}) for message in ({}, LINEAR)],
    *[
        (cls, {**SE3, **message, "irreps_head": "2x0e+1x0e+2x1e"})
        for cls, message in ((DP, {}), (GA, {}), (GA, LINEAR))
    ],
    (GA, {**E3, **LINEAR, "irreps_head": "1x1o+3x0e+1x2e"}),
    (GA, {**SE3, "irreps_feature": "4x0e+6x0e", "norm_layer": "instance"}),
]
REFUSED = [
    (DP, {**SE3, "irreps_head": ANY_DEGREE}, "cuts heads of 2x1e"),
    (DP, {**SE3, "irreps_head": ANY_DEGREE, "num_heads": 1}, "cuts heads of 2x1e"),
    (GA, {**SE3, "irreps_head": ANY_DEGREE}, "cuts heads of 2x1e"),
    (GA, {**SE3, **LINEAR, "irreps_head": ANY_DEGREE}, "cuts heads of"),
    (GA, {**E3, "irreps_head": SORTED_ODD}, "cuts heads of"),
    (GA, {**SE3, "irreps_node_embedding": "2x0e+4x0e+4x1e"}, "layer norms treat entries of one irrep apart"),
    (GA, {**SE3, "irreps_mlp_mid": "4x1e+8x0e"}, "they must start with 0e, got 4x1e"),
    (GA, {**SE3, "irreps_pre_attn": "4x1e+8x0e"}, "they must start with 0e, got 4x1e"),
]


@pytest.mark.parametrize(("cls", "ctor"), KEPT)
def test_heads_that_hold_whole_irreps_evenly_convert(cls, ctor):
    check_variant(cls, ctor)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "soft"}, "published norms are .*, got 'soft'"),
        ({"norm": "rms"}, "published norms are .*, got 'rms'"),
        ({"norm": "merged"}, "published norms are .*, got 'merged'"),
        ({"norm_position": "sandwich"}, "norm_position='pre', got 'sandwich'"),
        ({"norm": "layer", "ffn_activation": "norm"}, "expected activation='gate' and norms=False, got NormActivation"),
        ({"norm": "layer", "ffn_norms": True}, "got Gate and norms=True"),
    ],
)
def test_blocks_without_a_published_counterpart_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        to_official_state_dict(Equiformer.from_preset("small", num_layers=1, **settings))


@pytest.mark.parametrize(("cls", "ctor", "words"), REFUSED)
def test_irreps_without_an_equivalent_are_refused(cls, ctor, words):
    weights = reference_of(cls, ctor).state_dict()
    with pytest.raises(ValueError, match=words):
        load_official({"cls": cls, "ctor": ctor, "state_dict": weights})


#: Published dot-product attention in which even and odd channels of one degree trade places.
MIXED = {
    "even first": (DP, {**E3, "irreps_head": SORTED_EVEN, "num_layers": 2}),
    "MD17": (DP_MD, {**E3, "irreps_head": SORTED_EVEN}),
    "one head": (DP, {**E3, "irreps_head": SORTED_EVEN, "num_heads": 1}),
    "three heads": (DP, {**E3, "irreps_head": SORTED_EVEN, "num_heads": 3, "rescale_degree": True}),
    "lmax 3": (DP_MD, {**sizes(3, parity=True), "irreps_head": "2x0e+1x0o+2x1e+1x1o+1x2o+1x3e"}),
    "irreps_pre_attn": (DP, {**E3, "irreps_head": "1x0o+2x0e+2x1e+1x1o", "irreps_pre_attn": "4x0e+2x1o+1x1e+2x1o"}),
    "odd after even in pieces": (DP, {**E3, "irreps_node_embedding": "4x0e+2x0o+2x0e+2x1o+3x1e", "norm_layer": "graph",
                                      "irreps_head": "2x0e+1x0o+1x0e+1x1e+1x1o"}),
    "attention head": (DP_MD, {**E3, "irreps_head": SORTED_EVEN, "use_attn_head": True,
                               "irreps_feature": E3["irreps_node_embedding"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_dot_product_heads_that_mix_parities_convert_to_attention_blind_to_parity(name):
    check_variant(*MIXED[name])


def test_attention_blind_to_parity_is_saved_and_exported(tmp_path):
    cls, ctor = MIXED["even first"]
    weights = reference_of(cls, ctor).state_dict()
    model = load_official({"cls": cls, "ctor": ctor, "state_dict": weights})
    assert model.config.attention_parity == "ignored"
    save_model(tmp_path / "m.pt", model)
    again = load_model(tmp_path / "m.pt")
    assert all(torch.equal(v, weights[k]) for k, v in to_official_state_dict(again).items())
    with torch.no_grad():
        for p in again.parameters():
            p.add_(0.1)
    with pytest.raises(ValueError, match="couples even and odd features"):
        to_official_state_dict(again)


@pytest.mark.parametrize(("parity", "invariant"), [("kept", True), ("ignored", False)])
def test_only_attention_that_keeps_parity_is_invariant_under_inversion(parity, invariant):
    torch.manual_seed(0)
    irreps = {"irreps": "6x0e+4x0o+3x1e+2x1o", "irreps_head": "3x0e+2x0o+2x1e+1x1o", "irreps_ffn": "8x0e+2x1o+2x1e"}
    small = {"num_layers": 2, "heads": 2, "num_basis": 8, "attention": "dot", "message": "linear"}
    model = Equiformer.from_preset("qm9_e3", **irreps, **small, attention_parity=parity).double().eval()
    z, pos = torch.tensor([6, 8, 7, 1, 9]), torch.randn(5, 3, dtype=torch.float64)
    out = model(z, pos)
    assert torch.allclose(model(z, pos @ rand_matrix(dtype=torch.float64).T), out, rtol=1e-10, atol=1e-12)
    assert torch.allclose(model(z, -pos), out, rtol=1e-10, atol=1e-12) == invariant


def test_attention_blind_to_parity_takes_flat_features_and_returns_weights():
    conv = ParityBlindConv(
        "4x0e+2x0o+2x1o", irreps_sh="0e+1o", irreps_head="2x0e+1x0o+1x1o", irreps_out="3x1o+1x0e", edge_dim=8, heads=2
    ).double()
    edge_index = torch.tensor([[0, 1, 2], [1, 0, 0]])
    edges = edge_index, *(torch.randn(3, d, dtype=torch.float64) for d in (4, 8))
    x = torch.randn(3, 12, dtype=torch.float64)
    out, (_, alpha) = conv(x, *edges, return_attention_weights=True)
    assert out.shape == (3, 10)
    assert alpha.shape == (3, 2)
    assert torch.equal(out, conv.layout_out.join(conv(conv.layout_in.split(x), *edges)))
    with pytest.raises(ValueError, match=r"x must have shape \[N, 12\]"):
        conv(x[:, 1:], *edges)


def test_our_channels_are_numbered_head_by_head():
    ((ir, channels),) = head_entries(Irreps("1x0e+1x0e"), 2, "mlp")
    assert str(ir) == "0e"
    assert channels.tolist() == [0, 2, 1, 3]
    odd, even = pair_entries(Irreps("1x0o+2x0e"), 2, "dot")
    assert odd[1].tolist() == [0, 1, 2, 3]
    assert even[1].tolist() == list(range(8))
    assert torch.equal(head_entries(Irreps("1x1o+2x1e"), 3, "dot")[1][1], torch.arange(6))
