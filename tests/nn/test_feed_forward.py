"""The feed-forward network is linear, activation, linear, with norms and a scalar per atom as options."""

from typing import Any

import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings
from torch.autograd import gradgradcheck

from pyg_equiformer.nn import FFN_ACTIVATIONS, FeedForward, NormActivation
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES, any_irreps

#: Every activation, without and with the norms of higher types.
KINDS = [{"activation": activation, "norms": norms} for activation in FFN_ACTIVATIONS for norms in (False, True)]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['activation']}, norms={kind['norms']}")
IRREPS, MID, OUT = "4x0e+2x1o+1x2e", "6x0e+3x1o+2x2e", "3x0e+2x1o+1x2e"


def network(dropout: float = 0.0, **kind: Any) -> FeedForward:
    """Float64, with biases that are not zero."""
    ffn = FeedForward(IRREPS, OUT, irreps_mid=MID, dropout=dropout, **kind).double()
    for name, parameter in ffn.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    return ffn


def test_is_the_composition_of_its_parts() -> None:
    ffn = network()
    x = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64)
    assert torch.allclose(ffn(x), ffn.lin_out(ffn.activation(ffn.lin_in(x))), rtol=0, atol=1e-14)
    assert ffn.activation.irreps_out == Irreps(MID)


def test_takes_the_norm_activation_in_place_of_the_gate() -> None:
    ffn = network(activation="norm")
    assert isinstance(ffn.activation, NormActivation)
    x = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64)
    assert torch.allclose(ffn(x), ffn.lin_out(ffn.activation(ffn.lin_in(x))), rtol=0, atol=1e-14)


@pytest.mark.parametrize("irreps", ["4x0e+2x1o+1x2e", "2x1o+1x2e", "1x0e+2x0o+1x1e"])
def test_norms_of_all_channels_but_0e_are_further_scalars_of_the_first_map(irreps: str) -> None:
    ffn = FeedForward(irreps, OUT, irreps_mid=MID, norms=True).double()
    x = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64)
    scalars, others = [], []
    for name, b in zip(ffn.layout_in.names, ffn.layout_in.split(x)):
        if name == "0e":
            scalars.append(b[:, 0])
        else:
            scalars.append(torch.stack([(v.square().mean(1) + 1e-4).sqrt() for v in b.unbind(2)], dim=1))
            others.append(b)
    blocks = [torch.cat(scalars, dim=1).unsqueeze(1), *others]
    expected = ffn.layout_out.join(ffn.lin_out.blocks(ffn.activation.blocks(ffn.lin_in.blocks(blocks))))
    assert torch.allclose(ffn(x), expected, rtol=0, atol=1e-13)


@every_kind
def test_scalars_learn_of_higher_types_by_the_norms_alone(kind: dict[str, Any]) -> None:
    ffn = network(**kind)
    x = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64)
    longer = torch.cat([x[:, :4], 2 * x[:, 4:]], dim=1)
    assert torch.equal(ffn(x)[:, :3], ffn(longer)[:, :3]) != kind["norms"]


@every_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_zero_features_have_finite_gradients_and_second_gradients(kind: dict[str, Any], dtype: torch.dtype) -> None:
    ffn = network(**kind).to(dtype)
    x = torch.zeros(3, ffn.irreps_in.dim, dtype=dtype, requires_grad=True)
    out = ffn(x)
    weights = list(ffn.parameters())
    (first,) = torch.autograd.grad(out.sin().sum(), x, create_graph=True)
    second = torch.autograd.grad(first.square().sum(), [x, *weights], allow_unused=True)
    assert all(v.isfinite().all() for v in (out, first, *second) if v is not None)


@every_kind
def test_half_precision_under_autocast_is_near_full_precision(kind: dict[str, Any]) -> None:
    ffn = network(**kind).float()
    x = torch.randn(5, ffn.irreps_in.dim)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = ffn.blocks(ffn.layout_in.split(x))
    exact = ffn.blocks(ffn.layout_in.split(x))
    for a, b in zip(coarse, exact):
        assert (a - b).abs().max() < 0.05 * b.abs().max()


def test_a_scalar_per_atom_multiplies_both_linear_maps_but_not_their_biases() -> None:
    ffn = network()
    x, s = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    zero_in, zero_mid = torch.zeros_like(x[:1]), torch.zeros(1, ffn.lin_out.irreps_in.dim, dtype=torch.float64)
    bias_in, bias_out = ffn.lin_in(zero_in), ffn.lin_out(zero_mid)
    hidden = ffn.activation((ffn.lin_in(x) - bias_in) * s + bias_in)
    expected = (ffn.lin_out(hidden) - bias_out) * s + bias_out
    assert torch.allclose(ffn(x, s), expected, rtol=0, atol=1e-13)
    assert torch.allclose(ffn(x, torch.ones_like(s)), ffn(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@every_kind
def test_is_equivariant_in_training_too(kind: dict[str, Any], dtype: torch.dtype, device: str, dropout: float) -> None:
    assert_equivariant(network(dropout, **kind).to(device, dtype))


@every_kind
def test_is_equivariant_with_a_scalar_per_atom(kind: dict[str, Any]) -> None:
    assert_equivariant(network(**kind), invariant={"node_attr": torch.randn(8, 1, dtype=torch.float64)})


@given(any_irreps, any_irreps, any_irreps)
@settings(deadline=None, max_examples=10)
def test_any_irreps_give_the_right_width_and_stay_equivariant(a: Irreps, b: Irreps, mid: Irreps) -> None:
    for kind in KINDS:
        ffn = FeedForward(a, b, irreps_mid=mid, **kind).double()
        assert ffn(torch.zeros(3, a.dim, dtype=torch.float64)).shape == (3, b.dim)
        assert_equivariant(ffn, trials=1)


@every_kind
def test_second_derivatives_pass_gradgradcheck(kind: dict[str, Any]) -> None:
    ffn = FeedForward("2x0e+1x1o", "1x0e+1x1o", irreps_mid="2x0e+1x1o", **kind).double()
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(ffn, x)


@every_kind
def test_reset_repeats_with_the_seed(kind: dict[str, Any]) -> None:
    ffn, states = network(**kind), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        ffn.reset_parameters()
        states.append(torch.cat([p.detach().flatten() for p in ffn.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_bad_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        FeedForward(IRREPS, OUT, irreps_mid=MID, dropout=1.5)


def test_an_unknown_activation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"activation must be one of \('gate', 'norm'\), got 'relu'"):
        FeedForward(IRREPS, OUT, irreps_mid=MID, activation="relu")
