"""Networks that compute again instead of storing: the same gradients of energies and forces."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.checkpoints import to_official_state_dict

from .conftest import SANDWICH, tiny

KINDS = ("tensor_product", "block")


def stored_numbers(model: Equiformer, molecule: tuple[Tensor, Tensor]) -> int:
    """Return how many numbers, beside the weights, the network keeps for its gradients."""
    weights, kept = {p.data_ptr() for p in model.parameters()}, {}

    def keep(t: Tensor) -> Tensor:
        if t.data_ptr() not in weights:
            kept.setdefault(t.data_ptr(), t)  # the tensor itself, so that its place is not used again
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model(*molecule)
    return sum(t.numel() for t in kept.values())


def loss_and_gradients(model: Equiformer, molecule: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return energy, forces and the gradients of a loss on both."""
    torch.manual_seed(2)
    out = EnergyForces(model)(*molecule)
    loss = out["energy"].square().sum() + out["forces"].square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    zero = torch.zeros((), dtype=torch.float64)
    return [out["energy"], out["forces"], *(zero if g is None else g for g in gradients)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-8 * max(1.0, b.detach().abs().max().item()))


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "qm9"}, {"attention": "dot"}, {"head": "attention"}, SANDWICH], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_energies_forces_and_gradients_of_a_force_loss_stay_the_same(kind, settings, molecule):
    model = tiny(**settings, proj_dropout=0.2, drop_path=0.1).train()
    expected, much = loss_and_gradients(model, molecule), stored_numbers(model, molecule)
    model.set_checkpoint(kind)
    assert_same(loss_and_gradients(model, molecule), expected)
    assert stored_numbers(model, molecule) < much / 2


def test_a_choice_can_be_undone(molecule):
    model = tiny(head="attention")
    much = stored_numbers(model, molecule)
    model.set_checkpoint("tensor_product")
    model.set_checkpoint("none")
    assert stored_numbers(model, molecule) == much


def test_reversible_blocks_may_recompute_their_edges_too(molecule):
    model = tiny(reversible=True, num_layers=3)
    expected = loss_and_gradients(model, molecule)
    model.set_checkpoint("tensor_product")
    assert_same(loss_and_gradients(model, molecule), expected)


def test_wrong_choices_are_refused():
    with pytest.raises(ValueError, match=r"checkpoint must be one of .* got 'all'"):
        Equiformer.from_preset("small").set_checkpoint("all")
    with pytest.raises(ValueError, match="for blocks that are stored, got reversible=True"):
        tiny(reversible=True).set_checkpoint("block")


def test_reversible_models_have_no_published_form():
    with pytest.raises(ValueError, match="no reversible blocks"):
        to_official_state_dict(tiny("qm9", reversible=True))
