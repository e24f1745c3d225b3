"""Attention drawn on structures."""

import pytest
import torch

from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.explain import attention_maps, draw_attention, recorded_attention, view_attention

from ..models.conftest import tiny
from .samples import periodic

pytest.importorskip("matplotlib").use("agg")
build = pytest.importorskip("ase.build")


def ethanol() -> tuple[torch.Tensor, torch.Tensor]:
    atoms = build.molecule("CH3CH2OH")
    return torch.tensor(atoms.numbers), torch.tensor(atoms.positions)


def wedges(figure) -> list:
    return [axis.collections[0] for axis in figure.axes[:-1]]  # the last one is that of the colours


@pytest.fixture(scope="module")
def maps():
    return attention_maps(tiny(num_layers=2), *ethanol())


def test_each_layer_has_a_panel_with_a_wedge_per_edge(maps, tmp_path):
    z, pos = ethanol()
    figure = draw_attention(maps, pos, z, path=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert [len(w.get_paths()) for w in wedges(figure)] == [maps.edge_index.shape[1]] * 2
    assert [axis.get_title() for axis in figure.axes[:2]] == [f"{n}, mean of heads" for n in maps.names]
    shown = torch.from_numpy(wedges(figure)[0].get_array())
    assert torch.allclose(shown, maps.alpha[0].mean(1).sort().values)


def test_heads_come_apart_or_one_by_one(maps):
    z, pos = ethanol()
    assert len(draw_attention(maps, pos, z, heads="each").axes) == 2 * maps.alpha.shape[2] + 1
    (first, _) = wedges(draw_attention(maps, pos, z, heads=1))
    assert float(first.get_array().max()) == pytest.approx(float(maps.alpha[0, :, 1].max()))


def test_edges_of_one_atom_or_the_strongest_alone_are_drawn_and_told(maps):
    z, pos = ethanol()
    figure = draw_attention(maps, pos, z, target=2, top=3)
    assert [len(w.get_paths()) for w in wedges(figure)] == [3, 3]
    count = int((maps.edge_index[1] == 2).sum())
    assert figure.axes[0].get_title().endswith(f"strongest 3 of {count} edges")
    strongest = maps.alpha[0].mean(1)[maps.edge_index[1] == 2].topk(3).values.sort().values
    assert torch.allclose(torch.from_numpy(wedges(figure)[0].get_array()), strongest)


def test_wedges_end_at_the_atom_that_attends(maps):
    z, pos = ethanol()
    figure = draw_attention(maps, pos, z, target=0)
    nodes = torch.tensor(figure.axes[0].collections[1].get_offsets().data)
    for path in wedges(figure)[0].get_paths():
        start, near, *_ = torch.tensor(path.vertices)
        assert float((near - nodes[0]).norm()) == pytest.approx(0.25, abs=1e-6)
        assert float((start - nodes[1:]).norm(dim=1).min()) < 1e-6


def test_proteins_are_drawn_as_chains_of_groups():
    from pyg_equiformer.folding import sequence_data

    from ..folding import samples, test_equifold

    model, data = test_equifold.model(), sequence_data("MKTAYWG")
    frames = samples.frames(data.num_nodes)
    with torch.no_grad(), recorded_attention(model) as layers:
        model(data, frames)
    chain = torch.arange(data.num_nodes - 1)
    figure = draw_attention(layers, frames.origin, bonds=torch.stack([chain, chain + 1]), top=20)
    assert len(figure.axes) == len(layers) + 1


def test_images_of_crystals_lie_outside_of_the_cell():
    data = RadiusGraph(4.0)(periodic())
    maps = attention_maps(tiny(num_layers=1, cutoff=4.0), data)
    (drawn,) = wedges(draw_attention(maps, data.pos, data.z))
    starts = torch.stack([torch.tensor(path.vertices[0]) for path in drawn.get_paths()])
    assert len(starts.round(decimals=4).unique(dim=0)) > len(data.pos)


def test_what_is_not_there_cannot_be_drawn(maps):
    z, pos = ethanol()
    for given, message in (
        ({"heads": 9}, "heads must be 'mean', 'each' or a number below 2, got 9"),
        ({"heads": "all"}, "got 'all'"),
        ({"target": 9}, "target must be the number of a node below 9, got 9"),
        ({"top": 0}, "top must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_attention(maps, pos, z, **given)
    with pytest.raises(ValueError, match="at least one layer, got none"):
        draw_attention([], pos, z)


def test_a_view_to_turn_has_a_cylinder_per_edge(maps):
    pytest.importorskip("py3Dmol")
    z, pos = ethanol()
    code = view_attention(maps, pos, z, top=7)._make_html()
    assert code.count("addCylinder") == 7
    assert code.count("addModel") == 1
    assert view_attention(next(iter(maps)), pos, z, head=0, top=10_000)._make_html().count("addCylinder") == len(
        maps.edge_index[0]
    )
    with pytest.raises(ValueError, match="layer must be one of 2, got 5"):
        view_attention(maps, pos, z, layer=5)
    with pytest.raises(ValueError, match="head must be below 2, got 2"):
        view_attention(maps, pos, z, head=2)


def test_without_the_packages_the_extra_is_named(monkeypatch, maps):
    import sys

    z, pos = ethanol()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pyg_equiformer\[train\]"):
        draw_attention(maps, pos, z)
    monkeypatch.setitem(sys.modules, "py3Dmol", None)
    with pytest.raises(ImportError, match=r"pyg_equiformer\[view\]"):
        view_attention(maps, pos, z)
