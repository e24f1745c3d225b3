"""Layers take flat features or blocks, and return what they took."""

import pytest
import torch

from pyg_equiformer.nn import EquivariantNorm, FeedForward, Gate, IrrepsModule, Linear

IRREPS = "2x1o+4x0e+1x2e+1x1o"  # neither sorted nor merged
LAYERS = {
    "Linear": lambda: Linear(IRREPS, "3x1o+2x0e+1x1o"),
    "FeedForward": lambda: FeedForward(IRREPS, IRREPS, irreps_mid="6x0e+4x1o+2x2e"),
    "Gate": lambda: Gate(IRREPS),
    "EquivariantNorm": lambda: EquivariantNorm(IRREPS),
}


@pytest.mark.parametrize("name", LAYERS)
def test_blocks_and_flat_features_give_the_same(name: str) -> None:
    layer = LAYERS[name]().double()
    x = torch.randn(5, layer.irreps_in.dim, dtype=torch.float64)
    out = layer(layer.layout_in.split(x))
    assert isinstance(out, list)
    assert torch.equal(layer.layout_out.join(out), layer(x))


@pytest.mark.parametrize("name", LAYERS)
def test_irreps_are_public_and_in_the_repr(name: str) -> None:
    layer = LAYERS[name]()
    x = torch.zeros(3, layer.irreps_in.dim)
    assert layer(x).shape == (3, layer.irreps_out.dim)
    assert str(layer.irreps_in) in repr(layer)


@pytest.mark.parametrize("name", LAYERS)
def test_no_rows_give_no_rows(name: str) -> None:
    layer = LAYERS[name]()
    assert layer(torch.zeros(0, layer.irreps_in.dim)).shape == (0, layer.irreps_out.dim)


def test_a_layer_without_blocks_says_what_is_missing() -> None:
    class Unfinished(IrrepsModule):
        pass

    with pytest.raises(NotImplementedError, match=r"Unfinished must implement blocks\(\)"):
        Unfinished("2x0e", "2x0e")(torch.zeros(1, 2))
