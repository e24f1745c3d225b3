import pytest
import torch
from torch_geometric.data import Batch

from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS, Target
from pyg_equiformer.neighbors import periodic_radius_graph, radius_graph
from pyg_equiformer.training import Structures, TrainConfig, TrainingTask
from pyg_equiformer.training.build import build
from pyg_equiformer.training.data_module import StructureDataModule
from pyg_equiformer.training.denoising import corrupt
from pyg_equiformer.training.engine import Callback
from pyg_equiformer.training.run import prepare
from pyg_equiformer.training.statistics import collect_statistics

from .conftest import TINY, water
from .runs import numbers, quiet_train
from .systems import boxed_water, charged_water, copper

CUTOFF = 5.0
SETTINGS = {"std": 0.1, "probability": 1.0, "fraction": 1.0, "cutoff": CUTOFF}
GAP = Target("gap", "graph_scalar", "eV")


def batch_of(structures):
    return Batch.from_data_list([RadiusGraph(CUTOFF)(s) for s in structures])


FEW = [RadiusGraph(CUTOFF)(water(i)) for i in range(5)]


def task_of(structures, targets, **settings):
    config = TrainConfig(model=TINY, **settings)
    torch.manual_seed(0)
    plan = build(config, targets, collect_statistics([RadiusGraph(CUTOFF)(s) for s in structures], targets))
    return TrainingTask(plan.model, plan.terms, config, plan.scales)


def edges(index, shift=None):
    shift = torch.zeros(index.shape[1], 3) if shift is None else shift
    return {(int(j), int(i), *(round(float(x), 3) + 0.0 for x in s)) for j, i, s in zip(*index, shift)}


def test_noise_of_probability_zero_changes_nothing_and_of_one_moves_all():
    batch = batch_of([water(i) for i in range(4)])
    still = corrupt(batch, **{**SETTINGS, "probability": 0.0})
    assert torch.equal(still.batch.pos, batch.pos)
    assert not still.noise.any()
    assert not still.moved.any()
    shaken = corrupt(batch, **SETTINGS)
    assert bool(shaken.moved.all())
    assert bool((shaken.batch.pos != batch.pos).all())


def test_noise_has_the_spread_that_was_asked_for_and_is_what_was_added():
    torch.manual_seed(0)
    batch = Batch.from_data_list(FEW * 200)
    before = batch.pos.clone()
    shaken = corrupt(batch, **SETTINGS)
    torch.testing.assert_close(shaken.batch.pos - batch.pos, shaken.noise, atol=1e-6, rtol=0)
    assert float(shaken.noise.std()) == pytest.approx(0.1, rel=0.03)
    assert abs(float(shaken.noise.mean())) < 0.003
    assert torch.equal(batch.pos, before)


def test_probability_is_that_of_structures_and_fraction_that_of_their_atoms():
    torch.manual_seed(0)
    batch = Batch.from_data_list(FEW * 400)
    moved = corrupt(batch, **{**SETTINGS, "probability": 0.3}).moved.view(-1, 3)
    assert bool((moved.all(1) | ~moved.any(1)).all())
    assert float(moved[:, 0].float().mean()) == pytest.approx(0.3, abs=0.04)
    torch.manual_seed(1)
    shaken = corrupt(batch, **{**SETTINGS, "probability": 0.5, "fraction": 0.4})
    assert float(shaken.moved.float().mean()) == pytest.approx(0.2, abs=0.02)
    assert not shaken.noise[~shaken.moved].any()
    assert torch.equal(shaken.batch.pos[~shaken.moved], batch.pos[~shaken.moved])


def test_neighbours_are_those_of_the_moved_atoms_and_the_batch_is_left_as_it_was():
    batch = batch_of([water(i) for i in range(3)])
    index, pos, names = batch.radius_edge_index.clone(), batch.pos.clone(), sorted(batch.keys())
    torch.manual_seed(0)
    shaken = corrupt(batch, **{**SETTINGS, "std": 4.0})
    assert edges(shaken.batch.radius_edge_index) == edges(radius_graph(shaken.batch.pos, CUTOFF, batch.batch))
    assert edges(shaken.batch.radius_edge_index) != edges(index)
    assert torch.equal(batch.radius_edge_index, index)
    assert torch.equal(batch.pos, pos)
    assert sorted(batch.keys()) == sorted(shaken.batch.keys()) == names


def test_neighbours_in_other_cells_are_renewed_too():
    structures = [copper(0), boxed_water(1), copper(2)]
    batch = batch_of(structures)
    torch.manual_seed(0)
    shaken = corrupt(batch, **{**SETTINGS, "std": 0.5}).batch
    first = 0
    found = edges(shaken.radius_edge_index, shaken.radius_edge_shift)
    expected = set()
    for structure in structures:
        n = structure.num_nodes
        pos = shaken.pos[first : first + n]
        index, shift = periodic_radius_graph(pos, CUTOFF, structure.cell[0], structure.pbc[0])
        expected |= edges(index + first, shift)
        first += n
    assert found == expected
    assert torch.equal(shaken.energy, batch.energy)
    assert shaken.num_graphs == 3


def test_forces_of_moved_atoms_do_not_count_but_energies_do():
    structures = [water(i) for i in range(4)]

    def loss(weight, probability):
        settings = {"noise_probability": probability, "noise_weight": 0.0, "weight": weight}
        torch.manual_seed(0)
        return task_of(structures, (ENERGY, FORCES), denoising="dens", **settings).training_step(batch, 0).item()

    batch = batch_of(structures)
    only_forces, only_energies = {"energy": 0.0, "forces": 1.0}, {"energy": 1.0, "forces": 0.0}
    assert loss(only_forces, 1.0) == 0.0
    assert loss(only_energies, 1.0) > 0.0
    assert loss(only_forces, 0.0) > 0.0


def test_a_step_on_structures_that_were_not_moved_is_the_plain_one():
    structures = [water(i) for i in range(4)]
    plain = task_of(structures, (ENERGY, FORCES))
    dens = task_of(structures, (ENERGY, FORCES), denoising="dens", noise_probability=0.0)
    dens.model.load_state_dict(plain.model.state_dict())
    torch.testing.assert_close(
        dens.training_step(batch_of(structures), 0), plain.training_step(batch_of(structures), 0)
    )


def test_missing_forces_are_not_shown_to_the_network():
    structures = [water(i) for i in range(2)]
    task = task_of(structures, (ENERGY, FORCES), denoising="dens", noise_probability=1.0)
    structures[1].forces = torch.full_like(structures[1].forces, torch.nan)
    loss = task.training_step(batch_of(structures), 0)
    loss.backward()
    assert bool(loss.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in task.parameters() if p.grad is not None)


def test_the_gradient_reaches_network_and_denoiser():
    structures = [water(i) for i in range(4)]
    task = task_of(structures, (ENERGY, FORCES), denoising="dens", noise_probability=1.0)
    task.training_step(batch_of(structures), 0).backward()
    for part in (task.denoiser.attn, task.denoiser.lin, task.model):
        assert any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in part.parameters())


def test_validation_sees_no_noise(structures, tiny_config):
    prepared = prepare(structures, tiny_config(denoising="dens", noise_probability=1.0))
    batch = next(iter(prepared.data.val_dataloader()))
    torch.testing.assert_close(prepared.task(batch.clone())["forces"], prepared.plan.model(batch.clone())["forces"])


class Denoised(Callback):
    """Mean length of the error over all atoms of fixed noise, as a part of the noise's own.

    A molecule that was shifted or turned as a whole looks as before: of the nine directions in which the noise moves
    three atoms, three can be found, and an error of (6/9)^½ = 0.82 is left.
    """

    def __init__(self):
        self.errors = []

    def on_train_start(self, trainer, task):
        self.on_validation_end(trainer, task)

    def on_validation_end(self, trainer, task):
        data = trainer.datamodule
        with torch.random.fork_rng():
            torch.manual_seed(5)
            batch = task.convert(Batch.from_data_list([data.train[i] for i in range(len(data.train))]))
            c = task.config
            noisy = corrupt(batch, std=c.noise_std, probability=1.0, fraction=1.0, cutoff=CUTOFF)
            embedding = None
            if c.denoising == "dens":
                embedding = task.denoiser.embed(batch.forces / task.scales["forces"], noisy.moved)
            out = task.model(noisy.batch, node_embedding=embedding, return_features=True)
            found = task.denoiser(out["features"], out["edges"])
        noise = noisy.noise / c.noise_std
        self.errors.append(float((found - noise).detach().norm(dim=1).mean() / noise.norm(dim=1).mean()))


def test_training_with_dens_finds_the_noise(structures, tiny_config):
    seen = Denoised()
    config = tiny_config(
        denoising="dens",
        noise_probability=0.9,
        weight={"forces": 1.0},
        epochs=20,
        validations=4,
        ema_decay=0.0,
        learning_rate=1e-2,
    )
    result = quiet_train(structures, config, callbacks=[seen])
    assert seen.errors[-1] < 0.96 < 0.98 < seen.errors[0]
    assert all(x == x for x in numbers(result.metrics))


def test_noisy_nodes_with_a_property_finds_the_noise(tiny_config):
    seen = Denoised()
    sets = Structures([charged_water(i) for i in range(20)], targets=(GAP,), name="gaps")
    config = tiny_config(
        denoising="noisy_nodes",
        noise_probability=0.9,
        epochs=20,
        validations=4,
        ema_decay=0.0,
        learning_rate=1e-2,
        batch_size=4,
    )
    quiet_train(sets, config, callbacks=[seen])
    assert seen.errors[-1] < 0.96 < 0.98 < seen.errors[0]


def test_periodic_structures_train_with_dens(tiny_config):
    sets = Structures([copper(i) for i in range(8)], name="copper")
    result = quiet_train(sets, tiny_config(denoising="dens", epochs=1))
    assert all(x == x for x in numbers(result.metrics))


def test_stress_and_dens_go_together():
    structures = [copper(i) for i in range(3)]
    task = task_of(structures, (ENERGY, FORCES, STRESS), denoising="dens", noise_probability=1.0)
    loss = task.training_step(batch_of(structures), 0)
    loss.backward()
    assert bool(loss.isfinite())


def test_the_data_module_serves_what_corrupt_takes(structures, tiny_config):
    data = StructureDataModule(structures, cutoff=CUTOFF, config=tiny_config())
    batch = next(iter(data.train_dataloader()))
    assert corrupt(batch, **SETTINGS).batch.num_graphs == batch.num_graphs
