import pytest
import torch

from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS, Target
from pyg_equiformer.training.losses import loss_terms, target_error, weighted_loss

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def terms(*targets, **options):
    scales = dict.fromkeys((t.name for t in targets), options.pop("scale", 1.0))
    return loss_terms(targets, scales, options.pop("weight", {}), options.pop("loss", {}), **options)


@pytest.mark.parametrize("device", DEVICES)
def test_errors_of_scalars_vectors_and_tensors_by_hand(device):
    a, b = torch.tensor([1.0, 4.0], device=device), torch.tensor([2.0, 2.0], device=device)
    assert target_error(a, b, "l1").tolist() == [1.0, 2.0]
    assert target_error(a, b, "mse").tolist() == [1.0, 4.0]
    assert target_error(a, b, "norm").tolist() == [1.0, 2.0]
    vector = torch.tensor([[3.0, 4.0, 0.0]], device=device)
    zero = torch.zeros_like(vector)
    assert target_error(vector, zero, "norm").tolist() == [5.0]
    assert target_error(vector, zero, "l1").tolist() == pytest.approx([7 / 3])
    assert target_error(vector, zero, "mse").tolist() == pytest.approx([25 / 3])
    tensor = torch.full((1, 3, 3), 2.0, device=device)
    assert target_error(tensor, torch.zeros_like(tensor), "norm").tolist() == pytest.approx([6.0])


def test_the_norm_does_not_depend_on_the_axes():
    torch.manual_seed(0)
    a, b = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    torch.testing.assert_close(target_error(a @ turn, b @ turn, "norm"), target_error(a, b, "norm"))


def test_the_gradient_of_an_exact_vector_is_zero_not_nan():
    force = torch.zeros(2, 3, requires_grad=True)
    target_error(force, torch.zeros(2, 3), "norm").sum().backward()
    assert force.grad.tolist() == [[0.0] * 3] * 2


def test_shapes_and_kinds_are_checked():
    with pytest.raises(ValueError, match=r"one shape \[n, …\], got \[2\] and \[3\]"):
        target_error(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="unknown loss 'l2'"):
        target_error(torch.zeros(2), torch.zeros(2), "l2")


def test_missing_labels_neither_count_nor_reach_the_gradient():
    (term,) = terms(FORCES)
    predicted = torch.ones(3, 3, requires_grad=True)
    true = torch.zeros(3, 3)
    true[1, 2] = torch.nan
    total, count = term.errors(predicted, true, torch.tensor([3]))
    assert int(count) == 2
    assert float(total) == pytest.approx(2 * 3**0.5)
    total.backward()
    assert predicted.grad[1].tolist() == [0.0] * 3
    assert bool(torch.isfinite(predicted.grad).all())


def test_atoms_that_are_not_used_do_not_count():
    (term,) = terms(FORCES)
    used = torch.tensor([True, False, False])
    total, count = term.errors(torch.ones(3, 3), torch.zeros(3, 3), torch.tensor([3]), used)
    assert (float(total), int(count)) == (pytest.approx(3**0.5), 1)


def test_energies_per_atom_and_scales_divide_the_errors():
    predicted, true, atoms = torch.tensor([10.0, 0.0]), torch.tensor([0.0, 6.0]), torch.tensor([5, 2])
    (plain,), (each,) = terms(ENERGY, scale=2.0), terms(ENERGY, scale=2.0, energy_per_atom=True)
    assert float(plain.errors(predicted, true, atoms)[0]) == 8.0
    assert float(each.errors(predicted, true, atoms)[0]) == 10 / 5 / 2 + 6 / 2 / 2


def test_small_differences_of_large_energies_are_not_rounded():
    (term,) = terms(ENERGY)
    true = torch.tensor([-11036.0], dtype=torch.float64)
    total, _ = term.errors(true + 1e-9, true, torch.tensor([3]))
    assert float(total) == pytest.approx(1e-9, rel=1e-2)


def test_defaults_are_l1_for_scalars_norms_for_the_rest_and_100_for_forces():
    found = {t.target.name: (t.kind, t.weight) for t in terms(ENERGY, FORCES, STRESS)}
    assert found == {"energy": ("l1", 1.0), "forces": ("norm", 100.0), "stress": ("norm", 1000.0)}
    given = {
        t.target.name: (t.kind, t.weight) for t in terms(ENERGY, FORCES, weight={"forces": 3}, loss={"energy": "mse"})
    }
    assert given == {"energy": ("mse", 1.0), "forces": ("norm", 3.0)}


def test_names_that_are_no_targets_and_weights_that_leave_nothing_are_errors():
    with pytest.raises(ValueError, match=r"weight: expected targets of this run \(gap\), got forces"):
        terms(Target("gap", "graph_scalar"), weight={"forces": 1.0})
    with pytest.raises(ValueError, match="loss: expected targets of this run"):
        terms(ENERGY, loss={"gap": "l1"})
    with pytest.raises(ValueError, match="are 0"):
        terms(ENERGY, FORCES, weight={"energy": 0, "forces": 0})


def test_the_loss_is_the_weighted_sum_of_means():
    sums, counts = [torch.tensor(6.0), torch.tensor(5.0, dtype=torch.float64)], [torch.tensor(3), torch.tensor(10)]
    assert float(weighted_loss(sums, counts, [10.0, 2.0])) == pytest.approx(10 * 2 + 2 * 0.5)
    assert float(weighted_loss([torch.tensor(0.0)], [torch.tensor(0)], [1.0])) == 0.0
