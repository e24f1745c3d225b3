import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.training.config import TrainConfig
from pyg_equiformer.training.data_module import (
    Mapped,
    Prepare,
    StructureDataModule,
    Structures,
    share,
    split_at_random,
)


def molecule(z, energy=0.0, force=1.0):
    n = len(z)
    return Data(
        z=torch.tensor(z),
        pos=torch.arange(3.0 * n).reshape(n, 3),
        energy=torch.tensor([energy], dtype=torch.float64),
        forces=torch.full((n, 3), force),
    )


def serve(structures, **settings):
    return StructureDataModule(structures, cutoff=6.0, config=TrainConfig(**settings))


def numbered(count):
    return [molecule([1, 1], energy=float(i)) for i in range(count)]


def energies(structures):
    return [s.energy.item() for s in structures]


def sets(data):
    return [energies(part) for part in (data.train, data.valid, data.tests["test"])]


class OnAccess:
    """Structures that are made when they are asked for."""

    def __init__(self, structures):
        self.structures = structures

    def __len__(self):
        return len(self.structures)

    def __getitem__(self, index):
        return self.structures[index].clone()


def test_split_is_disjoint_complete_and_seeded():
    first, second, rest = split_at_random(30, [5, 7], seed=4)
    assert [len(first), len(second), len(rest)] == [5, 7, 18]
    assert sorted(first + second + rest) == list(range(30))
    assert split_at_random(30, [5, 7], seed=4) == [first, second, rest]
    assert split_at_random(30, [5, 7], seed=5) != [first, second, rest]


def test_split_does_not_touch_the_global_random_state():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    split_at_random(10, [2], seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_sizes_below_one_are_parts_and_others_numbers():
    assert [share(size, 30) for size in (0, 0.1, 0.001, 1, 7.0)] == [0, 3, 1, 1, 7]


def test_sets_are_disjoint_and_follow_the_seed():
    data = serve(Structures(numbered(40)), valid_fraction=0.1, test_fraction=10, seed=1)
    parts = sets(data)
    assert [len(part) for part in parts] == [26, 4, 10]
    assert sorted(e for part in parts for e in part) == list(range(40))
    again = serve(Structures(numbered(40)), valid_fraction=0.1, test_fraction=10, seed=1)
    assert sets(again) == parts
    members = serve(Structures(numbered(40)), valid_fraction=0.1, test_fraction=10, seed=5, split_seed=1)
    assert sets(members) == parts
    assert sets(serve(Structures(numbered(40)), valid_fraction=0.1, test_fraction=10, seed=5)) != parts


def test_given_sets_are_used_whole():
    test = numbered(3)
    data = serve(Structures(numbered(10), valid=numbered(2), test=test))
    assert [len(part) for part in sets(data)] == [10, 2, 3]
    assert energies(data.tests["test"]) == energies(test)
    several = serve(Structures(numbered(10), valid=numbered(2), test={"hot": numbered(4), "cold": test}))
    assert {name: len(part) for name, part in several.tests.items()} == {"hot": 4, "cold": 3}


def test_a_training_size_draws_from_what_the_split_left():
    whole = serve(Structures(numbered(40)), valid_fraction=4, test_fraction=10)
    few = serve(Structures(numbered(40)), valid_fraction=4, test_fraction=10, train_size=8)
    assert len(few.train) == 8
    assert set(energies(few.train)) < set(energies(whole.train))
    assert sets(few)[1:] == sets(whole)[1:]
    all_of_them = serve(Structures(numbered(40)), valid_fraction=4, test_fraction=10, train_size=26)
    assert sets(all_of_them) == sets(whole)
    with pytest.raises(ValueError, match="train_size: expected at most the 26 structures left, got 27"):
        serve(Structures(numbered(40)), valid_fraction=4, test_fraction=10, train_size=27)


def test_the_order_of_batches_follows_the_seed_and_every_pass_serves_all():
    def drawn(seed, count=40):
        found = []
        data = serve(Structures(numbered(20), valid=numbered(1), test=numbered(1)), batch_size=4, seed=seed, epochs=2)
        for batch in data.train_dataloader():
            found += batch.energy.tolist()
            if len(found) >= count:
                return found
        return found

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert sorted(drawn(0)[:20]) == sorted(drawn(0)[20:]) == list(range(20))


@pytest.mark.parametrize("streamed", [False, True])
def test_no_batch_has_more_edges_than_the_limit(streamed):
    rng = np.random.default_rng(0)
    structures = [molecule([1] * n) for n in rng.integers(1, 8, size=40).tolist()]
    kept = OnAccess(structures) if streamed else structures
    data = serve(
        Structures(kept, valid=structures[:9], test=structures[:2], streamed=streamed), batch_size=10, max_edges=12
    )
    edges, sizes, served = [], [], 0
    for batch in data.train_dataloader():
        edges.append(batch.radius_edge_index.shape[1])
        sizes.append(batch.num_graphs)
        served += batch.num_graphs
        if served >= 40:
            break
    assert max(edges) == 12
    assert 1 < max(sizes) <= 10
    assert served == 40
    assert all(batch.radius_edge_index.shape[1] <= 12 for batch in data.val_dataloader())
    assert sum(batch.num_graphs for batch in data.val_dataloader()) == 9


def test_a_structure_with_more_edges_than_the_limit_is_named():
    with pytest.raises(ValueError, match="at least the 12 edges of structure 1 of the training set, got 11"):
        serve(
            Structures([molecule([1]), molecule([1] * 7)], valid=numbered(1), test=numbered(1)),
            max_edges=11,
        )


def test_neighbours_are_found_once_and_averages_are_those_of_the_training_set():
    chain = molecule([1, 1, 1])  # neighbours are 5.2 Å apart: the ends do not see each other
    data = serve(Structures([chain, molecule([1, 1]), molecule([1])], valid=[chain], test=[chain]))
    assert data.train[0].radius_edge_index.shape == (2, 4)
    assert data.tests["test"][0].radius_edge_index.shape == (2, 4)
    assert not hasattr(chain, "radius_edge_index")
    assert data.statistics.averages() == {"avg_num_nodes": pytest.approx(2.0), "avg_degree": pytest.approx(1.0)}


def test_streamed_sets_have_the_split_and_the_statistics_of_those_in_memory():
    held = serve(Structures(numbered(40)), test_fraction=10)
    streamed = serve(Structures(OnAccess(numbered(40)), streamed=True), test_fraction=10)
    assert sets(streamed) == sets(held)
    assert streamed.statistics.fingerprint() == held.statistics.fingerprint()
    assert streamed.statistics.averages() == held.statistics.averages()
    assert isinstance(streamed.train, Mapped)
    assert streamed.train[0].radius_edge_index.shape == (2, 2)


def test_double_precision_finds_neighbours_in_it_and_leaves_the_structure_alone():
    chain = molecule([1, 1, 1])
    ready = Prepare(6.0, torch.float64)(chain)
    assert ready.pos.dtype == torch.float64
    assert ready.forces.dtype == torch.float32
    assert chain.pos.dtype == torch.float32


def test_a_mapped_sequence_has_the_items_of_its_indices():
    view = Mapped(list("abcdef"), str.upper, [4, 1, 3])
    assert list(view) == ["E", "B", "D"]
    assert (view[-1], len(view), list(view[1:])) == ("D", 3, ["B", "D"])
    with pytest.raises(IndexError, match="below 3, got 3"):
        view[3]


@pytest.mark.parametrize("streamed", [False, True])
def test_missing_and_infinite_labels_are_errors(streamed):
    def run(train, **others):
        given = {"valid": numbered(1), "test": numbered(1), **others}
        parts = (
            {k: OnAccess(v) for k, v in {"train": train, **given}.items()} if streamed else {"train": train, **given}
        )
        data = serve(Structures(**parts, streamed=streamed))
        for part in (data.train, data.valid, *data.tests.values()):
            list(part)

    unlabelled = Data(z=torch.tensor([1]), pos=torch.zeros(1, 3), energy=torch.zeros(1))
    with pytest.raises(ValueError, match="structure 1 of the training set has no forces"):
        run([molecule([1]), unlabelled])
    with pytest.raises(ValueError, match="structure 0 of the training set has energy that are NaN or infinite"):
        run([molecule([1], energy=float("nan")), molecule([1])])
    with pytest.raises(ValueError, match="structure 0 of the test set has forces that are NaN or infinite"):
        run(numbered(3), test=[molecule([1], force=float("inf"))])
    with pytest.raises(ValueError, match="structure 1 of the validation set has energy that are NaN or infinite"):
        run(numbered(3), valid=[molecule([1]), molecule([1], energy=float("nan"))])


@pytest.mark.parametrize("streamed", [False, True])
def test_masked_labels_may_be_missing_but_not_infinite(streamed):
    def run(energy):
        train = [molecule([1]), molecule([1], energy=energy)]
        structures = Structures(OnAccess(train) if streamed else train, numbered(1), numbered(1), streamed=streamed)
        return serve(structures, read={"missing_labels": "mask"})

    assert run(float("nan")).statistics.labels["energy"].count == 1
    with pytest.raises(ValueError, match="structure 1 of the training set has energy that are infinite"):
        run(float("inf"))


def test_empty_sets_are_errors():
    with pytest.raises(ValueError, match="the training set is empty"):
        serve(Structures([]))
    with pytest.raises(ValueError, match="the test set is empty"):
        serve(Structures(numbered(3), test=[]))
    with pytest.raises(ValueError, match="the validation set is empty"):
        serve(Structures(numbered(5)), valid_fraction=0)
    with pytest.raises(ValueError, match="cannot set 1 \\+ 1 of 2 structures apart"):
        serve(Structures(numbered(2)))
