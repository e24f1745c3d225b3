import pytest

from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training import size_curve
from pyg_equiformer.training.size_curve import plot_size_curve

from .predicted import GAP


@pytest.fixture
def drawn(monkeypatch):
    kept = []
    save = size_curve.save_figure
    monkeypatch.setattr(size_curve, "save_figure", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


def test_seeds_are_joined_by_their_mean_and_the_power_law_is_fitted(tmp_path, drawn):
    errors = [(100, 90.0), (100, 110.0), (400, 50.0), (1600, 25.0)]  # ∝ n^-0.5
    plot_size_curve(
        tmp_path / "a.png", {"forces": errors}, "title", [FORCES], marks={"forces": [("other", 1600, 20.0)]}
    )
    axes = drawn[0].axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[100, 100], [400, 50], [1600, 25]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "this model: error ∝ n$^{-0.50}$",
        "other: 20",
    ]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_size_and_no_size_still_give_a_picture(tmp_path, drawn):
    plot_size_curve(tmp_path / "a.png", {"gap": [(1000, 200.0)]}, targets=[GAP, ENERGY])
    assert drawn[0].axes[0].get_legend().get_texts()[0].get_text() == "this model"
    assert drawn[0].axes[1].texts[0].get_text() == "no values"
