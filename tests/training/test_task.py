import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from pyg_equiformer.training.config import TrainConfig
from pyg_equiformer.training.losses import energy_loss, force_loss
from pyg_equiformer.training.task import ForceFieldTask, decay_groups

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
def test_the_loss_is_the_weighted_sum_in_units_of_the_energy_scale(structures, device):
    config = TrainConfig(energy_weight=3.0, forces_weight=7.0)
    task = ForceFieldTask(Springs(), config, energy_scale=0.5).to(device)
    batch = Batch.from_data_list(structures.train[:4]).to(device)
    out = task(batch)
    expected = 3.0 * energy_loss(out["energy"], batch.energy) / 0.5
    expected = expected + 7.0 * force_loss(out["forces"], batch.forces) / 0.5
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def test_small_differences_of_large_energies_are_not_rounded(structures):
    task = ForceFieldTask(Springs(), TrainConfig(forces_weight=0.0))
    batch = Batch.from_data_list(structures.train[:4])
    batch.energy = task(batch)["energy"].detach() + 1e-9
    assert task.training_step(batch, 0).item() == pytest.approx(1e-9, rel=1e-3)


def test_a_scale_that_is_not_positive_is_an_error():
    with pytest.raises(ValueError, match="energy scale > 0 eV, got 0"):
        ForceFieldTask(Springs(), TrainConfig(), energy_scale=0.0)
