"""Dropout of whole channels and of whole graphs keeps equivariance and expectation."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer.nn import DropPath, EquivariantDropout, check_probability
from pyg_equiformer.o3 import Layout
from pyg_equiformer.testing import assert_equivariant

from ..strategies import DEVICES

LAYOUT = Layout("5x0e+4x1o+3x2e")


def ones(n: int, device: str = "cpu") -> list[Tensor]:
    return [torch.ones(n, d, c, device=device) for d, c in zip(LAYOUT.dims, LAYOUT.channels)]


@pytest.mark.parametrize("device", DEVICES)
def test_channels_are_dropped_whole_each_on_its_own_and_the_rest_is_scaled(device: str) -> None:
    torch.manual_seed(0)
    for block in EquivariantDropout(0.25)(ones(400, device)):
        assert torch.equal(block, block[:, :1].expand_as(block))  # all components share one fate
        kept = block[:, 0] > 0
        assert torch.allclose(block[:, 0][kept], torch.tensor(1 / 0.75, device=device))
        assert kept.float().mean(0).sub(0.75).abs().max() < 0.12  # every channel is kept about as often
        assert kept.any(0).all()
        assert (~kept).any(0).all()
        assert not kept.all(1).all()


@pytest.mark.parametrize("layer", [EquivariantDropout(0.3), DropPath(0.3)], ids=lambda m: type(m).__name__)
def test_expectation_is_the_input(layer: torch.nn.Module) -> None:
    torch.manual_seed(0)
    arguments = (torch.arange(4000), 4000) if isinstance(layer, DropPath) else ()
    for block in layer(ones(4000), *arguments):
        assert float(block.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", [EquivariantDropout, DropPath])
def test_evaluation_and_probability_zero_return_the_input_itself(kind: type) -> None:
    x = ones(3)
    assert kind(0.5).eval()(x) is x
    assert kind(0.0).train()(x) is x


def test_dropout_in_training_is_equivariant_for_the_same_draw() -> None:
    dropout = EquivariantDropout(0.5)
    assert_equivariant(lambda x: LAYOUT.join(dropout(LAYOUT.split(x))), LAYOUT.irreps, LAYOUT.irreps)


@pytest.mark.parametrize("device", DEVICES)
def test_drop_path_drops_all_atoms_of_a_graph_in_all_types_together(device: str) -> None:
    torch.manual_seed(0)
    batch = torch.arange(100, device=device).repeat(3)  # three atoms per graph, mixed
    blocks = DropPath(0.4)(ones(300, device), batch, 100)
    flat = torch.cat([block.flatten(1) for block in blocks], dim=1)
    fate = flat[:100, 0]
    assert torch.equal(flat, fate.repeat(3).unsqueeze(1).expand_as(flat))
    assert sorted(set(fate.tolist())) == pytest.approx([0, 1 / 0.6])


def test_drop_path_without_batch_takes_everything_as_one_graph() -> None:
    torch.manual_seed(0)
    fates = {float(DropPath(0.5)(ones(4))[1].sum()) for _ in range(20)}
    assert fates == {0.0, 2.0 * 4 * 12}


def test_drop_path_counts_the_graphs_itself_if_need_be() -> None:
    assert DropPath(0.5)(ones(3), torch.tensor([0, 4, 4]))[0].shape == (3, 1, 5)
    assert DropPath(0.5)(ones(0), torch.zeros(0, dtype=torch.long))[0].shape == (0, 1, 5)


def test_half_precision_stays_half_precision() -> None:
    half = [block.bfloat16() for block in ones(3)]
    for layer in (EquivariantDropout(0.5), DropPath(0.5)):
        assert all(block.dtype == torch.bfloat16 for block in layer(half))


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0, float("nan")])
def test_probabilities_outside_zero_to_one_are_refused_by_name(p: float) -> None:
    with pytest.raises(ValueError, match="attn_dropout must be at least 0 and less than 1"):
        check_probability(p, "attn_dropout")
    with pytest.raises(ValueError, match="dropout must"):
        EquivariantDropout(p)
    with pytest.raises(ValueError, match="drop_path must"):
        DropPath(p)


def test_repr_tells_the_probability() -> None:
    assert "p=0.25" in repr(EquivariantDropout(0.25))
    assert "p=0.25" in repr(DropPath(0.25))
