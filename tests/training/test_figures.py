from dataclasses import replace

import numpy as np
import pytest

from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS
from pyg_equiformer.training import figures
from pyg_equiformer.training.figures import plot_learning_curve, plot_parity, read_history
from pyg_equiformer.training.panels import new_figure, target_colors

from .predicted import CHARGES, DIPOLE, GAP, made_up


def is_png(path):
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and len(data) > 10_000


@pytest.fixture
def drawn(monkeypatch):
    """The figure that was written last, to look into."""
    kept = []
    save = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


@pytest.mark.parametrize("committee", [False, True])
@pytest.mark.parametrize("count", [1, 400])
def test_parity_is_a_picture_for_one_and_for_many_structures(tmp_path, count, committee):
    plot_parity(tmp_path / "a.png", made_up([ENERGY, FORCES], [[1, 8]] * count, committee=committee), "title")
    assert is_png(tmp_path / "a.png")


@pytest.mark.parametrize("targets", [[GAP], [ENERGY, FORCES, STRESS], [ENERGY, FORCES, DIPOLE, CHARGES]])
def test_there_is_a_panel_per_target_with_its_unit(tmp_path, drawn, targets):
    plot_parity(tmp_path / "a.png", made_up(targets, [[1, 8]] * 5))
    labels = [axes.get_xlabel() for axes in drawn[0].axes]
    assert len(labels) == len(targets)
    for target, label in zip(targets, labels):
        assert f"({target.unit}" in label
    assert f"m{GAP.unit}" in drawn[0].axes[0].texts[0].get_text()


def test_energies_are_shown_relative_to_their_mean_without_references(tmp_path, drawn):
    predictions = made_up([ENERGY], [[1], [8], [6]])
    references = np.array([-13.0, -2000.0, -1000.0])
    moved = replace(
        predictions,
        predicted={"energy": predictions.predicted["energy"] + references},
        true={"energy": predictions.true["energy"] + references},
        references=references,
    )
    plot_parity(tmp_path / "a.png", moved)
    shown = drawn[0].axes[0].collections[-1].get_offsets()
    true = predictions.true["energy"]
    np.testing.assert_allclose(shown[:, 0], true - true.mean(), atol=1e-9)
    np.testing.assert_allclose(shown[:, 1], predictions.predicted["energy"] - true.mean(), atol=1e-9)


def test_missing_labels_are_not_drawn_and_no_labels_at_all_are_an_error(tmp_path, drawn):
    predictions = made_up([ENERGY, FORCES], [[1, 8]] * 5)
    predictions.true["energy"][:2] = np.nan
    plot_parity(tmp_path / "a.png", predictions)
    assert len(drawn[0].axes[0].collections[-1].get_offsets()) == 3
    with pytest.raises(ValueError, match=r"none of \['energy', 'forces'\]"):
        plot_parity(tmp_path / "b.png", replace(predictions, true={}))
    assert not (tmp_path / "b.png").exists()


def test_too_many_points_to_tell_apart_are_a_density(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(figures, "MANY", 100)
    plot_parity(tmp_path / "a.png", made_up([ENERGY, FORCES], [[1, 8]] * 60))
    assert [axes.get_ylabel() for axes in drawn[0].axes][-1] == "points"
    forces = drawn[0].axes[1].collections[-1]
    assert forces.get_array().sum() == 360


def test_learning_curve_is_read_from_the_log_and_drawn(tmp_path, drawn):
    log = tmp_path / "metrics.csv"
    log.write_text(
        "epoch,step,train/energy_mae,train/forces_mae,valid/energy_mae,valid/forces_mae\n"
        "0,9,30.0,200.0,,\n0,9,,,25.0,150.0\n1,19,20.0,100.0,,\n"
    )
    history = read_history(log)
    assert history["train/energy_mae"] == [(9.0, 30.0), (19.0, 20.0)]
    assert history["valid/forces_mae"] == [(9.0, 150.0)]
    plot_learning_curve(tmp_path / "b.png", history, "title")
    assert is_png(tmp_path / "b.png")
    legend = [text.get_text() for text in drawn[0].axes[1].get_legend().get_texts()]
    assert legend[1] == "validation (averaged weights): 150 meV/Å"


def test_a_run_without_any_validation_still_gives_a_picture(tmp_path, drawn):
    plot_learning_curve(tmp_path / "c.png", {}, targets=[GAP, STRESS, CHARGES])
    assert is_png(tmp_path / "c.png")
    assert [axes.texts[0].get_text() for axes in drawn[0].axes] == ["no values"] * 3


def test_errors_that_a_logarithmic_axis_cannot_show_are_left_out(tmp_path, drawn):
    plot_learning_curve(tmp_path / "c.png", {"valid/gap_mae": [(1, 3.0), (2, 0.0), (3, float("nan"))]}, targets=[GAP])
    assert drawn[0].axes[0].lines[0].get_xydata().tolist() == [[1, 3]]


def test_energies_and_forces_have_the_same_colours_in_all_figures():
    assert target_colors([ENERGY, FORCES]) == target_colors([STRESS, ENERGY, FORCES])[1:]
    several = target_colors([ENERGY, FORCES, STRESS, GAP, DIPOLE])
    assert len(set(several)) == 5


def test_no_target_is_an_error():
    with pytest.raises(ValueError, match="at least one target"):
        new_figure("", 0)


def test_another_file_is_an_error(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="column 'step'"):
        read_history(tmp_path / "x.csv")
