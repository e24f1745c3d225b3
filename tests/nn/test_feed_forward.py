"""The feed-forward network is linear, gate, linear, with an optional scalar per atom."""

import pytest
import torch
from e3nn.o3 import Irreps
from hypothesis import given, settings
from torch.autograd import gradgradcheck

from pyg_equiformer.nn import FeedForward
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES, any_irreps

IRREPS, MID, OUT = "4x0e+2x1o+1x2e", "6x0e+3x1o+2x2e", "3x0e+2x1o+1x2e"


def network(dropout: float = 0.0) -> FeedForward:
    """Float64, with biases that are not zero."""
    ffn = FeedForward(IRREPS, OUT, irreps_mid=MID, dropout=dropout).double()
    for name, parameter in ffn.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return ffn


def test_is_the_composition_of_its_parts() -> None:
    ffn = network()
    x = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64)
    assert torch.allclose(ffn(x), ffn.lin_out(ffn.gate(ffn.lin_in(x))), rtol=0, atol=1e-14)
    assert ffn.gate.irreps_out == Irreps(MID)


def test_a_scalar_per_atom_multiplies_both_linear_maps_but_not_their_biases() -> None:
    ffn = network()
    x, s = torch.randn(5, ffn.irreps_in.dim, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    zero_in, zero_mid = torch.zeros_like(x[:1]), torch.zeros(1, ffn.lin_out.irreps_in.dim, dtype=torch.float64)
    bias_in, bias_out = ffn.lin_in(zero_in), ffn.lin_out(zero_mid)
    hidden = ffn.gate((ffn.lin_in(x) - bias_in) * s + bias_in)
    expected = (ffn.lin_out(hidden) - bias_out) * s + bias_out
    assert torch.allclose(ffn(x, s), expected, rtol=0, atol=1e-13)
    assert torch.allclose(ffn(x, torch.ones_like(s)), ffn(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_is_equivariant_in_training_too(dtype: torch.dtype, device: str, dropout: float) -> None:
    assert_equivariant(network(dropout).to(device, dtype))


def test_is_equivariant_with_a_scalar_per_atom() -> None:
    assert_equivariant(network(), invariant={"node_attr": torch.randn(8, 1, dtype=torch.float64)})


@given(any_irreps, any_irreps, any_irreps)
@settings(deadline=None, max_examples=10)
def test_any_irreps_give_the_right_width_and_stay_equivariant(a: Irreps, b: Irreps, mid: Irreps) -> None:
    ffn = FeedForward(a, b, irreps_mid=mid).double()
    assert ffn(torch.zeros(3, a.dim, dtype=torch.float64)).shape == (3, b.dim)
    assert_equivariant(ffn, trials=1)


def test_second_derivatives_pass_gradgradcheck() -> None:
    ffn = FeedForward("2x0e+1x1o", "1x0e+1x1o", irreps_mid="2x0e+1x1o").double()
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(ffn, x)


def test_reset_repeats_with_the_seed() -> None:
    ffn, states = network(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        ffn.reset_parameters()
        states.append(torch.cat([p.detach().flatten() for p in ffn.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_bad_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        FeedForward(IRREPS, OUT, irreps_mid=MID, dropout=1.5)
