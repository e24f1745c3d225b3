import numpy as np
import pytest

from pyg_equiformer.training.figures import plot_learning_curve, plot_parity, read_history
from pyg_equiformer.training.report import Predictions


def is_png(path):
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and len(data) > 10_000


@pytest.mark.parametrize("count", [1, 2000])
def test_parity_is_a_picture_for_one_and_for_many_structures(tmp_path, count):
    rng = np.random.default_rng(0)
    energy, forces = rng.normal(size=count), rng.normal(size=(2 * count, 3))
    plot_parity(tmp_path / "a.png", Predictions(energy + 0.1, energy, forces, forces, np.full(count, 2)), "title")
    assert is_png(tmp_path / "a.png")


def test_learning_curve_is_read_from_the_log_and_drawn(tmp_path):
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


def test_a_run_without_any_validation_still_gives_a_picture(tmp_path):
    plot_learning_curve(tmp_path / "c.png", {})
    assert is_png(tmp_path / "c.png")


def test_another_file_is_an_error(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="column 'step'"):
        read_history(tmp_path / "x.csv")
