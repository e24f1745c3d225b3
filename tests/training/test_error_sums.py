import pytest
import torch

from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training.error_sums import ErrorSums
from pyg_equiformer.training.losses import loss_terms

TERMS = loss_terms((ENERGY, FORCES), {"energy": 0.5, "forces": 0.5}, {"energy": 2.0, "forces": 10.0}, {})


def add(errors, name, predicted, true, used=None):
    term = next(t for t in TERMS if t.target.name == name)
    total, count = term.errors(predicted, true, torch.tensor([len(true)]), used)
    errors.add(name, predicted, true, total, count, used)


def test_means_are_over_all_batches_in_the_units_of_errors():
    errors = ErrorSums(TERMS)
    add(errors, "energy", torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0], dtype=torch.float64))
    add(errors, "energy", torch.tensor([4.0]), torch.tensor([1.0], dtype=torch.float64))
    add(errors, "forces", torch.tensor([[3.0, 4.0, 0.0]]), torch.zeros(1, 3))
    means = errors.means("valid")
    assert float(means["valid/energy_mae"]) == pytest.approx(1000 * 3.5 / 3)
    assert float(means["valid/forces_mae"]) == pytest.approx(1000 * 7 / 3)
    assert float(means["valid/loss"]) == pytest.approx(2 * 3.5 / 3 / 0.5 + 10 * 5 / 0.5)


def test_missing_labels_and_moved_atoms_do_not_count():
    errors = ErrorSums(TERMS)
    forces = torch.tensor([[1.0, 1.0, 1.0], [torch.nan] * 3, [5.0, 5.0, 5.0]])
    add(errors, "forces", torch.zeros(3, 3), forces, torch.tensor([True, True, False]))
    add(errors, "energy", torch.zeros(1), torch.tensor([torch.nan]))
    means = errors.means("train")
    assert float(means["train/forces_mae"]) == pytest.approx(1000.0)
    assert float(means["train/loss"]) == pytest.approx(10 * 3**0.5 / 0.5)
    assert "train/energy_mae" not in means


def test_nothing_added_is_nothing_told():
    errors = ErrorSums(TERMS)
    assert errors.means("train") == {}
    add(errors, "energy", torch.zeros(1), torch.ones(1))
    errors.clear()
    assert errors.means("train") == {}


def test_the_state_goes_on_where_it_was_saved():
    whole, first = ErrorSums(TERMS), ErrorSums(TERMS)
    for part in (whole, first):
        add(part, "energy", torch.tensor([0.1]), torch.tensor([0.3]))
        add(part, "forces", torch.rand(2, 3), torch.full((2, 3), 0.5))
    later = ErrorSums(TERMS)
    later.load_state_dict(first.state_dict())
    assert later.means("train") == {k: pytest.approx(float(v)) for k, v in first.means("train").items()}
    for part in (first, later):
        add(part, "energy", torch.tensor([7.0]), torch.tensor([0.0]))
    assert {k: float(v) for k, v in later.means("train").items()} == {
        k: float(v) for k, v in first.means("train").items()
    }


def test_predictions_are_not_held():
    errors = ErrorSums(TERMS)
    predicted = torch.ones(1, requires_grad=True)
    add(errors, "energy", predicted, torch.zeros(1))
    assert not any(sums.requires_grad for sums in errors._sums.values())


def test_many_small_errors_are_summed_without_rounding():
    errors = ErrorSums(TERMS)
    error = torch.full((1000,), 1e-3)
    for _ in range(50):
        add(errors, "energy", error, torch.zeros(1000))
    assert float(errors.means("valid")["valid/energy_mae"]) == pytest.approx(1.0, rel=1e-6)
