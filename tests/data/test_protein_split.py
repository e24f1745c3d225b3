import pytest
from torch_geometric.data import Data

from pyg_equiformer.data.protein_split import split_chains, without_sequences


def chains(*keys):
    return [Data(entry=entry, sequence=sequence) for entry, sequence in keys]


def distinct(count):
    return chains(*((f"e{i}", "A" * (i + 1)) for i in range(count)))


@pytest.mark.parametrize(("test", "sizes"), [(0.2, [8, 2]), (3, [7, 3]), (1, [9, 1])])
def test_a_fraction_or_a_number_of_chains_is_set_apart_the_same_for_a_seed(test, sizes):
    found = distinct(10)
    parts = split_chains(found, test, seed=1)
    assert [len(p) for p in parts] == sizes
    again = split_chains(found, test, seed=1)
    assert [c.entry for c in parts[1]] == [c.entry for c in again[1]]
    assert any([c.entry for c in parts[1]] != [c.entry for c in split_chains(found, test, seed=s)[1]] for s in (2, 3))


@pytest.mark.parametrize("seed", range(5))
def test_chains_of_one_entry_or_sequence_stay_together(seed):
    # e1 – e2 – e3 are linked: through a sequence, an entry, and a sequence again.
    found = chains(("e1", "AA"), ("e2", "AA"), ("e2", "GG"), ("e3", "GG"), ("e4", "S"), ("e5", "T"), ("e6", "V"))
    train, test = split_chains(found, 0.6, seed)
    assert len(train) + len(test) == 7
    assert not {c.entry for c in train} & {c.entry for c in test}
    assert not {c.sequence for c in train} & {c.sequence for c in test}


def test_parts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"cannot set 1 of 2 chains apart .* 1 groups"):
        split_chains(chains(("e", "A"), ("e", "G")), 0.5)
    with pytest.raises(ValueError, match="cannot set 3 of 3"):
        split_chains(distinct(3), 3)
    for part in (0, -1, 1.5):
        with pytest.raises(ValueError, match=r"fraction below 1 or a whole number of chains, got"):
            split_chains(distinct(3), part)


def test_chains_with_a_known_sequence_are_found():
    left = without_sequences(chains(("a", "A"), ("b", "G")), chains(("c", "A")))
    assert [c.entry for c in left] == ["b"]
