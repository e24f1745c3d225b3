import pytest
import torch

from pyg_equiformer import load_model
from pyg_equiformer.data import BondGraph, KNNGraph
from pyg_equiformer.training import Structures, TrainConfig, train
from pyg_equiformer.training.data_module import StructureDataModule
from pyg_equiformer.training.predictions import predict
from pyg_equiformer.training.run import prepare

from .conftest import TINY, water
from .runs import quiet_train

INPUTS = {"num_edge_types": 3, "num_positions": 4, "irreps_node": "1x1e"}
BONDS = torch.tensor([[0, 0], [1, 2]])


def bonded(seed):
    """Water with its bonds, places in a sequence and velocities."""
    data = water(seed)
    data.edge_index, data.node_position = BONDS, torch.arange(3)
    data.node_attr = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
    return BondGraph(k=1, hops=2)(data)


@pytest.fixture(scope="module")
def sets():
    return Structures([bonded(i) for i in range(20)], test=[bonded(i) for i in range(100, 106)], name="water")


def tiny(**changes):
    return TrainConfig(model={**TINY, **INPUTS}, **{"epochs": 2, "batch_size": 7, "validations": 2, **changes})


@pytest.mark.parametrize("more", [{}, {"precision": "float64", "max_edges": 20}])
def test_bond_types_places_and_velocities_of_structures_are_trained_on(sets, more):
    result = quiet_train(sets, tiny(**more))
    model = load_model(result.folder / "model.pt")
    fresh = prepare(sets, tiny(**more)).plan.model.state_dict()
    for name in ("model.embed_edge_type.weight", *(n for n in fresh if n.startswith("model.node_inputs."))):
        assert not torch.equal(model.state_dict()[name], fresh[name]), name
    found = predict(model, sets.test, sets.targets, batch_size=4)
    for item, energy in zip(sets.test, found.predicted["energy"]):
        alone = model(item.clone().apply(lambda t: t.double() if more and t.is_floating_point() else t))
        assert float(alone["energy"].detach()) == pytest.approx(float(energy), abs=1e-4)


def test_chosen_neighbors_alone_are_the_edges_of_a_run(sets):
    structures = [KNNGraph(k=1)(water(i)) for i in range(20)]
    task = StructureDataModule(Structures(structures, test=structures[:2]), cutoff=6.0, config=TrainConfig(epochs=1))
    assert task.statistics.num_edges.tolist() == [3] * 19
    assert all("radius_edge_index" not in data for data in task.train)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("neighbor_edge_type", r"has no neighbor_edge_type, which model.num_edge_types=3 asks for"),
        ("node_position", r"has no node_position, which model.num_positions=4 asks for"),
        ("node_attr", r"has no node_attr, which model.irreps_node='1x1e' asks for"),
        ("neighbor_edge_index", r"has none of the neighbours that KNNGraph and BondGraph choose, expected some"),
    ],
)
def test_a_missing_input_is_named_with_the_structure(sets, field, message):
    lacking = bonded(3)
    del lacking[field]
    broken = Structures([*sets.train[:5], lacking], valid=sets.train[6:8], test=sets.test)
    with pytest.raises(ValueError, match=f"structure 5 of the training set {message}"):
        train(broken, tiny())
    broken = Structures(sets.train[:5], valid=[lacking], test=sets.test)
    with pytest.raises(ValueError, match=f"structure 0 of the validation set {message}"):
        train(broken, tiny())


def test_neighbors_chosen_for_some_structures_only_are_refused(sets):
    with pytest.raises(ValueError, match="structure 1 of the training set has some of the neighbours"):
        train(Structures([water(0), sets.train[1]], valid=[water(2)], test=[water(3)]), TrainConfig(model=TINY))


def test_noise_that_would_leave_chosen_neighbors_behind_is_refused(sets):
    with pytest.raises(ValueError, match="'dens' moves atoms, and neighbours chosen by"):
        train(sets, tiny(denoising="dens"))
