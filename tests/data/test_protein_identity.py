import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from pyg_equiformer.data import read_protein_chains
from pyg_equiformer.data.protein_identity import identity_clusters, related, sequence_identity, split_by_identity

from ..shared_data import DATA

pytest.importorskip("biotite")

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
NEDD8 = "MLIKVKTLTGKEIEIDIEPTDKVERIKERVEEKEGIPPQQQRLIYSGKQMNDEKTAADYKILGGSVLHLVLALRGG"
LYSOZYME = "KVFERCELARTLKRLGMDGYRGISLANWMCLAKWESGYNTRATNYNAGDRSTDYGIFQINSRYWCNDGKTPGAVNACHLSCSALLQDNIADAVACAKRV"


def chains(*sequences, entries=None):
    return [Data(entry=entries[k] if entries else str(k), sequence=s) for k, s in enumerate(sequences)]


@pytest.mark.parametrize(
    ("a", "b", "identical"),
    [
        ("MKTAYIAKQR", "MKTAYIAKQR", 10),
        ("MKTAYIAKQR", "MKTAYLAKQR", 9),
        ("MKTAYIAKQR", "GGGMKTAYIAKQRGGG", 10),  # the shorter one decides
        ("WWCHWWCHMKTAYIAKQRWWPFYHWW", "WWCHWWCHMKTAYIAKQRGWWPFYHWW", 26),  # one residue more
        ("WWWW", "GGGG", 0),
        ("MKTAYIXKQR", "MKTAYIXKQR", 9),  # nobody knows whether an X is the other one
    ],
)
def test_identity_is_the_identical_residues_over_the_shorter_length_in_either_order(a, b, identical):
    assert sequence_identity(a, b) == pytest.approx(identical / min(len(a), len(b)))
    assert sequence_identity(b, a) == sequence_identity(a, b)


@given(st.text(LETTERS, min_size=1, max_size=30), st.text(LETTERS, min_size=1, max_size=30))
def test_identity_is_between_none_and_all_whatever_the_order_and_whole_for_a_part(a, b):
    assert 0 <= sequence_identity(a, b) == sequence_identity(b, a) <= 1
    assert sequence_identity(a, a) == 1
    assert related(a, a, 1.0)


def test_ubiquitin_and_its_relative_are_related_and_lysozyme_is_to_neither():
    # 44 of 76 residues: the alignment has no gaps.
    assert sequence_identity(UBIQUITIN, NEDD8) == sum(a == b for a, b in zip(UBIQUITIN, NEDD8)) / 76
    assert related(UBIQUITIN, NEDD8, 0.5)
    assert not related(UBIQUITIN, NEDD8, 0.6)
    assert not related(UBIQUITIN, LYSOZYME)
    assert not related(LYSOZYME, NEDD8)


def test_short_matches_link_neither_long_chains_nor_short_ones_that_are_alike_by_chance():
    # A common stretch of 20 residues in chains of 95 and 119: a fifth of the shorter one.
    stretch = "HWKDMCYRPQNFHWEVCGMT"
    assert sequence_identity(stretch + UBIQUITIN[:75], stretch + LYSOZYME) < 0.3
    assert not related(stretch + UBIQUITIN[:75], stretch + LYSOZYME)
    assert related(stretch, stretch + LYSOZYME)
    # Three of four residues say nothing.
    assert sequence_identity("GASP", "GAST") == 0.75
    assert not related("GASP", "GAST")
    assert related("GASP", "GASP")


def test_random_sequences_are_hardly_ever_related():
    draw = random.Random(0)
    sequences = ["".join(draw.choices(LETTERS, k=draw.randint(5, 60))) for _ in range(40)]
    assert not any(related(a, b) for k, a in enumerate(sequences) for b in sequences[:k])


def test_chains_are_linked_by_sequence_entry_and_group_and_through_others():
    first, second = UBIQUITIN, LYSOZYME
    assert identity_clusters(chains(first, second, NEDD8)) == [[0, 2], [1]]
    assert identity_clusters(chains(first, second, NEDD8, entries=["a", "b", "b"])) == [[0, 1, 2]]
    assert identity_clusters(chains(first, second, "GGGG"), groups=["x", None, "x"]) == [[0, 2], [1]]
    assert identity_clusters(chains(first, second, "GGGG"), groups=[None] * 3) == [[0], [1], [2]]
    # The halves are not alike, but both are parts of the whole, which comes last.
    halves = UBIQUITIN[:38], UBIQUITIN[38:]
    assert identity_clusters(chains(*halves)) == [[0], [1]]
    assert identity_clusters(chains(*halves, UBIQUITIN)) == [[0, 1, 2]]
    assert identity_clusters([]) == []


@st.composite
def families(draw):
    """Chains of a few families, each mutated from one ancestor, with entries and groups that they may share."""
    letters = random.Random(draw(st.integers(0, 999)))
    ancestors = ["".join(letters.choices(LETTERS, k=letters.randint(15, 40))) for _ in range(draw(st.integers(2, 5)))]
    found, groups = [], []
    for k in range(draw(st.integers(3, 12))):
        rate = letters.random()
        sequence = "".join(letters.choice(LETTERS) if letters.random() < rate else a for a in letters.choice(ancestors))
        found.append(Data(entry=f"e{letters.randint(0, 2 * k)}", sequence=sequence))
        groups.append(letters.choice([None, None, None, "x", "y"]))
    return found, groups


@settings(max_examples=40, deadline=None)
@given(families(), st.integers(0, 99), st.sampled_from([0.2, 0.5, 1, 2]), st.sampled_from([0.2, 0.3, 0.6]))
def test_no_test_chain_is_linked_to_a_training_chain_and_each_chain_is_in_one_set(made, seed, part, threshold):
    found, groups = made
    try:
        train, test = split_by_identity(found, part, seed, threshold, groups)
    except ValueError as error:
        if "stay together in" not in str(error):
            raise
        return
    rows = {id(chain): k for k, chain in enumerate(found)}
    sides = [[rows[id(chain)] for chain in side] for side in (train, test)]
    assert sorted(sides[0] + sides[1]) == list(range(len(found)))
    assert sides[0]
    assert 0 < len(sides[1]) <= (part if part >= 1 else max(1, round(part * len(found))))
    for a in sides[0]:
        for b in sides[1]:
            assert found[a].entry != found[b].entry
            assert groups[a] is None or groups[a] != groups[b]
            assert not related(found[a].sequence, found[b].sequence, threshold)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="a residue or more, got an empty one"):
        sequence_identity("", "A")
    with pytest.raises(ValueError, match="residue 2 is '-', expected one of ARND"):
        sequence_identity("A-", "AAA")
    for threshold in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"threshold of identity must be above 0 and at most 1, got"):
            identity_clusters(chains("A"), threshold)
    with pytest.raises(ValueError, match="residue 1 is 'a', expected one of ARND"):
        identity_clusters(chains("a"))
    with pytest.raises(ValueError, match="expected a group for each of 2 chains, got 1 groups"):
        identity_clusters(chains("A", "C"), groups=["x"])
    with pytest.raises(ValueError, match=r"expected chains of read_protein_chains, chain 1 has no entry and no sequ"):
        identity_clusters([*chains("A"), Data()])
    with pytest.raises(
        ValueError, match=r"cannot set 1 of 2 .* one entry, one group or 30% identity stay together in 1"
    ):
        split_by_identity(chains(UBIQUITIN, NEDD8), 1)


def test_without_biotite_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "biotite.sequence.align", None)
    with pytest.raises(ImportError, match=r"pyg_equiformer\[pdb\]"):
        sequence_identity("A", "C")


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark data are not there")
def test_antibodies_of_a_kind_are_one_cluster_as_are_designs_and_small_gtpases_but_not_together():
    antibodies, designs, whole = (
        read_protein_chains(DATA / f"protein_{name}.npz").chains
        for name in ("bm5_fv", "designed_minibinders", "bm5_chains")
    )
    for kind in "AB":  # heavy, light: without the entries that join them
        alone = [Data(entry=c.name, sequence=c.sequence) for c in antibodies if c.chain == kind]
        assert identity_clusters(alone) == [list(range(24))]
    ras = ("1A2K_l", "1BKD_l", "1GRN_r", "1HE8_l", "1WQ1_l", "1Z0K_r", "2A9K_r")
    gtpases = [chain for chain in whole if chain.name.startswith(ras)]
    found = identity_clusters([*antibodies, *gtpases, *designs])
    assert found == [list(range(48)), list(range(48, 55)), list(range(55, 85))]
