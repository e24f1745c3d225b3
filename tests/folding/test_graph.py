import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_equiformer.folding import sequence_data, structure_data
from pyg_equiformer.folding.graph import FAR, fold_edges

from . import samples


def plain_edges(origin, place, chain, batch, cutoff, k, reach):
    """All pairs, one after the other."""
    found, n = set(), len(place)
    for i in range(n):
        others = [j for j in range(n) if j != i and batch[j] == batch[i]]
        distance = {j: float((origin[i] - origin[j]).norm()) for j in others}
        near = sorted(others, key=lambda j: (distance[j], j))[:k] if k else [j for j in others if distance[j] < cutoff]
        along = [j for j in others if chain[j] == chain[i] and abs(int(place[j] - place[i])) <= reach]
        for j in {*near, *along}:
            offset = int(place[j] - place[i])
            kind = offset + FAR if abs(offset) <= FAR else 2 * FAR + 1
            found.add((j, i, kind if chain[i] == chain[j] else 2 * FAR + 2))
    return found


@given(
    st.integers(0, 10_000), st.integers(1, 24), st.sampled_from([None, 1, 4]), st.integers(0, 3),
)  # fmt: skip
def test_edges_are_the_near_ones_in_space_and_along_each_chain(seed, count, k, reach):
    generator = torch.Generator().manual_seed(seed)
    origin = 5 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    place = torch.randint(0, 60, (count,), generator=generator)
    chain = torch.randint(0, 2, (count,), generator=generator)
    batch = torch.randint(0, 2, (count,), generator=generator).sort().values
    index, kind = fold_edges(origin, place, chain, batch, cutoff=6.0, num_neighbors=k, reach=reach)
    found = list(zip(*index.tolist(), kind.tolist()))
    assert len(set(found)) == len(found)
    assert set(found) == plain_edges(origin, place, chain, batch, 6.0, k, reach)
    assert index[1].tolist() == sorted(index[1].tolist())


def test_edges_grow_in_proportion_to_the_residues():
    counts = []
    for length in (100, 200):
        data = sequence_data("GA" * (length // 2))
        zero = torch.zeros(data.num_nodes, dtype=torch.long)
        origin = torch.randn(data.num_nodes, 3, generator=torch.Generator().manual_seed(0))
        edges, _ = fold_edges(origin, data.group_place, zero, zero, cutoff=9.0, num_neighbors=8, reach=1)
        counts.append(edges.shape[1])
    assert 1.9 < counts[1] / counts[0] < 2.1


def test_structures_and_their_sequences_are_the_same_graph():
    chains = [samples.chain("MKTAY", 1), samples.chain("GWX", 2)]
    for name, chain in zip("HL", chains):
        chain.chain, chain.entry = name, "file:ab"
    told = structure_data(chains, samples.templates())
    bare = sequence_data([("H", "MKTAY"), ("L", "GWX")])
    for key in ("group_type", "residue", "group_place", "group_chain", "seq_pos"):
        assert torch.equal(told[key], bare[key]), key
    assert (told.sequence, told.chain_names, told.chain_lengths, told.name) == ("MKTAYGWX", ("H", "L"), (5, 3), "ab")
    assert told.pos_true.shape[0] == told.num_nodes


def test_sequences_that_are_none_are_refused():
    for chains, message in (
        ("", "at least one residue"), ([], "at least one residue"), ([("A", "G"), ("A", "G")], "different names"),
        ("GBG", "chain A: residue 2 is 'B'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"mine.*{message}"):
            sequence_data(chains, "mine")
