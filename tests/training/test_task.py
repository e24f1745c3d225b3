import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from pyg_equiformer.data.structure_sets import ENERGY, FORCES, Target
from pyg_equiformer.training.config import TrainConfig
from pyg_equiformer.training.loop_task import Diverged, decay_groups
from pyg_equiformer.training.losses import loss_terms, target_error
from pyg_equiformer.training.task import TrainingTask

from .runs import quiet_train

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class Springs(nn.Module):
    """Energy and forces of one spring between all atoms; energies keep float64."""

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(1.0))

    def forward(self, batch):
        count = int(batch.batch.max()) + 1
        energy = torch.zeros(count, dtype=torch.float64, device=batch.pos.device)
        energy = energy.index_add(0, batch.batch, self.strength.double() * batch.pos.square().sum(1).double())
        return {"energy": energy - 2000.0, "forces": -2 * self.strength * batch.pos}


class OddNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 2))
        self.inner = nn.Linear(2, 2)


def task_of(config, scale=1.0):
    scales = {"energy": scale, "forces": scale}
    terms = loss_terms((ENERGY, FORCES), scales, config.weight, config.loss, config.energy_per_atom)
    return TrainingTask(Springs(), terms, config, scales)


def test_biases_norms_and_vectors_do_not_decay():
    module = nn.Module()
    module.linear = nn.Linear(3, 2)
    module.norm = OddNorm()
    module.layers = nn.ModuleList([nn.LayerNorm(4), nn.Linear(4, 4)])
    module.vector = nn.Parameter(torch.ones(5))
    module.bias_matrix = nn.Parameter(torch.ones(5, 5))
    module.frozen = nn.Parameter(torch.ones(5, 5), requires_grad=False)
    decays, free = decay_groups(module, 0.1)
    names = {id(p): name for name, p in module.named_parameters()}
    assert {names[id(p)] for p in decays["params"]} == {"linear.weight", "layers.1.weight"}
    assert decays["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    expected = set(names.values()) - {"linear.weight", "layers.1.weight", "frozen"}
    assert {names[id(p)] for p in free["params"]} == expected


@pytest.mark.parametrize("device", DEVICES)
def test_the_loss_is_the_weighted_sum_in_units_of_the_scale(structures, device):
    task = task_of(TrainConfig(weight={"energy": 3.0, "forces": 7.0}), scale=0.5).to(device)
    batch = Batch.from_data_list(structures.train[:4]).to(device)
    out = task(batch)
    expected = 3.0 * target_error(out["energy"], batch.energy, "l1").mean() / 0.5
    expected = expected + 7.0 * target_error(out["forces"], batch.forces, "norm").mean() / 0.5
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def test_the_loss_divides_energies_by_the_atoms_on_demand(structures):
    batch = Batch.from_data_list(structures.train[:4])
    weight = {"forces": 0.0}
    whole = task_of(TrainConfig(weight=weight)).training_step(batch, 0)
    per_atom = task_of(TrainConfig(weight=weight, energy_per_atom=True)).training_step(batch, 0)
    assert per_atom.item() == pytest.approx(whole.item() / 3)


def test_small_differences_of_large_energies_are_not_rounded(structures):
    task = task_of(TrainConfig(weight={"forces": 0.0}))
    batch = Batch.from_data_list(structures.train[:4])
    batch.energy = task(batch)["energy"].detach() + 1e-9
    assert task.training_step(batch, 0).item() == pytest.approx(1e-9, rel=1e-3)


def test_missing_labels_leave_the_loss_of_the_others_as_it_is(structures):
    task = task_of(TrainConfig(weight={"energy": 0.0}))
    some, rest = structures.train[:2], [s.clone() for s in structures.train[2:4]]
    for structure in rest:
        structure.forces = torch.full_like(structure.forces, torch.nan)
    loss = task.training_step(Batch.from_data_list([*some, *rest]), 0)
    torch.testing.assert_close(loss, task.training_step(Batch.from_data_list(some), 0))
    loss.backward()
    assert bool(task.model.strength.grad.isfinite())


def test_positions_are_converted_to_the_precision_of_the_weights(structures):
    task = task_of(TrainConfig()).double()
    batch = task.convert(Batch.from_data_list(structures.train[:2]))
    assert batch.pos.dtype == torch.float64
    assert task(batch)["forces"].dtype == torch.float64


def test_progress_follows_the_steps_or_the_clock_whichever_is_ahead(monkeypatch):
    task = task_of(TrainConfig(max_time=100.0))
    task.steps = 10
    monkeypatch.setattr(task, "elapsed", lambda: 30.0)
    assert [task.progress(step) for step in (1, 5, 20)] == [0.3, 0.5, 1.0]
    timeless = task_of(TrainConfig())
    timeless.steps = 10
    assert [timeless.progress(step) for step in (1, 5, 20)] == [0.1, 0.5, 1.0]


def test_a_run_that_diverges_ends_with_what_to_change(structures, tiny_config):
    config = tiny_config(learning_rate=1e6, gradient_clip=None, warmup=0.0, epochs=10, validations=10)
    with pytest.raises(Diverged, match=r"no longer finite at step \d+, expected a smaller learning_rate \(now 1000000"):
        quiet_train(structures, config)


def test_denoising_that_does_not_fit_the_targets_is_refused():
    gap = Target("gap", "graph_scalar", "eV")
    for kind, targets, message in (
        ("dens", (ENERGY,), "'dens' needs energies and forces among the targets, got energy"),
        ("dens", (FORCES,), "'dens' needs energies and forces among the targets, got forces"),
        ("dens", (gap,), "'dens' needs energies and forces"),
        ("noisy_nodes", (ENERGY, FORCES), "'noisy_nodes' moves atoms, and forces change with them"),
    ):
        terms = loss_terms(targets, {t.name: 1.0 for t in targets}, {}, {})
        with pytest.raises(ValueError, match=message):
            TrainingTask(Springs(), terms, TrainConfig(denoising=kind))
