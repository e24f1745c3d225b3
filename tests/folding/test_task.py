import pytest
import torch
from torch_geometric.data import Batch

from pyg_equiformer.folding import EquiFold
from pyg_equiformer.folding.graph import structure_data
from pyg_equiformer.folding.task import FoldingTask
from pyg_equiformer.folding.train_config import FoldTrainConfig

from . import samples

SHAPES = samples.templates()
SMALL = {"blocks": 1, "layers": 1, "irreps": "4x0e+4x1e", "num_neighbors": 4, "num_basis": 4}


def task(**settings):
    config = FoldTrainConfig(model=SMALL, **settings)
    return FoldingTask(EquiFold(config.fold_config(), SHAPES), config)


def test_a_warm_up_leads_from_the_true_frames_to_those_of_the_model():
    warm = task(interpolate=0.5)
    assert [warm.truth(done) for done in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.5, 0.0, 0.0]
    assert task().truth(0.0) == 0.0


def test_mixed_starts_are_anywhere_on_the_way_in_their_part_of_the_steps():
    torch.manual_seed(0)
    mixed, always = task(mixed_starts=0.75), task(mixed_starts=1.0, interpolate=1.0)
    shares = torch.tensor([mixed.truth(0.5) for _ in range(1000)])
    assert float((shares == 0).float().mean()) == pytest.approx(0.25, abs=0.05)
    there = shares[shares > 0]
    assert float(there.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(there.min()) < 0.02
    assert float(there.max()) > 0.98
    early = torch.tensor([always.truth(0.4) for _ in range(100)])
    assert bool((early >= 0.6 - 1e-6).all())
    assert float(early.max()) > 0.9


def test_start_frames_of_known_groups_are_the_true_ones_about_their_middle():
    data = structure_data([samples.chain("GASTW", 0)], SHAPES, name="p")
    data.known[3] = False
    batch = Batch.from_data_list([data, data])
    start = task().start_frames(batch, 1.0)
    known = batch.known
    middle = data.origin.mean(0)
    assert torch.allclose(start.origin[known], (batch.origin - middle)[known].float(), atol=1e-5)
    assert torch.allclose(start.rotation[known], batch.rotation[known].float(), atol=1e-5)
    assert float((start.rotation - batch.rotation)[~known].norm()) > 0.1
