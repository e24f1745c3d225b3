import pytest
import torch

from pyg_equiformer.bench.systems import WATER_DENSITY, liquid, make_system, nearest_neighbors, preset_system, workload
from pyg_equiformer.models import PRESETS, preset_config
from pyg_equiformer.neighbors import radius_graph


@pytest.mark.parametrize("preset", PRESETS)
def test_molecules_of_a_preset_are_of_elements_that_it_knows_with_as_many_neighbours_as_molecules_have(preset):
    config = preset_config(preset)
    system = preset_system(preset, config, 4)
    assert set(system.z.tolist()) <= set(config.elements)
    assert system.facts()["atoms"] == 4 * workload(preset).atoms
    assert 13 < system.degree < 20


def test_systems_are_the_same_every_time_and_their_edges_are_those_within_the_cutoff():
    a, b = (make_system(3, 9, 1.6, (1, 6), cutoff=3.0) for _ in range(2))
    for name in a.__dataclass_fields__:
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert torch.equal(a.edge_index, radius_graph(a.pos, 3.0, a.batch))


def test_the_first_molecules_alone_are_what_they_were_among_others():
    system, alone = make_system(3, 9, 1.6, (1, 6), cutoff=3.0), make_system(3, 9, 1.6, (1, 6), cutoff=3.0).first(2)
    assert torch.equal(alone.edge_index, radius_graph(alone.pos, 3.0, alone.batch))
    assert torch.equal(alone.pos, system.pos[:18])
    assert alone.molecules == 2


def test_liquids_are_as_dense_as_water():
    pos = liquid(3000, preset_config("small")).pos
    inside = (pos.norm(dim=1) < 12).sum() / (4 / 3 * torch.pi * 12**3)
    assert inside == pytest.approx(WATER_DENSITY, rel=0.02)


def test_nearest_neighbours_are_as_many_as_asked_for_and_nearer_than_all_others():
    pos = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    source, target = nearest_neighbors(pos, 5)
    assert torch.equal(target.bincount(), torch.full((20,), 5))
    for i in range(20):
        distance = (pos - pos[i]).norm(dim=1)
        mine = source[target == i]
        others = [j for j in range(20) if j != i and j not in mine.tolist()]
        assert distance[mine].max() < distance[others].min()


@pytest.mark.parametrize(("molecules", "atoms", "degree"), [(0, 9, None), (1, 1, None), (2, 9, 3), (1, 9, 9)])
def test_systems_that_cannot_be_are_refused(molecules, atoms, degree):
    with pytest.raises(ValueError, match="expected"):
        make_system(molecules, atoms, 1.6, (1,), cutoff=5.0, degree=degree)
