import csv
import math

import pytest
from rich.console import Console

from pyg_equiformer.training import Interrupted, resume
from pyg_equiformer.training.loggers import LOG, make_loggers

from .runs import PressCtrlC, quiet_train


def rows(folder):
    with open(folder / LOG, newline="") as file:
        return list(csv.DictReader(file))


def test_every_validation_is_a_row_with_the_errors_and_the_rate(structures, tiny_config):
    folder = quiet_train(structures, tiny_config(epochs=4, validations=4)).folder
    logged = rows(folder)
    assert [int(row["step"]) for row in logged] == [2, 5, 8, 11]
    for row in logged:
        for name in ("train/energy_mae", "train/forces_mae", "train/loss", "valid/energy_mae", "valid/forces_mae"):
            assert math.isfinite(float(row[name]))
        assert float(row["learning_rate"]) > 0
    # The errors of the training are those since the last row, and not those of the whole run.
    assert len({row["train/loss"] for row in logged}) == 4


def test_a_resumed_run_keeps_the_rows_before_it(tmp_path, structures, tiny_config):
    config = tiny_config(epochs=4, validations=4)
    whole = rows(quiet_train(structures, config).folder)
    with pytest.raises(Interrupted):
        quiet_train(structures, config, out=tmp_path / "run", callbacks=[PressCtrlC(after=7)])
    # The last row tells how good the model is that the run was stopped with.
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == [2, 5, 6]
    resume(tmp_path / "run", structures=structures, console=Console(quiet=True))
    assert [row for row in rows(tmp_path / "run") if row["step"] != "6"] == whole


def test_rows_after_the_step_that_a_run_goes_on_from_are_written_anew(tmp_path):
    (tmp_path / LOG).write_text("step,valid/loss\n2,1.0\n5,0.5\n8,0.25\n")
    (logger,) = make_loggers(tmp_path, [], resumed_at=6)
    logger.log_metrics({"valid/loss": 0.125}, step=8)
    logger.save()
    assert [(row["step"], float(row["valid/loss"])) for row in rows(tmp_path)] == [("2", 1.0), ("5", 0.5), ("8", 0.125)]


def test_tensorboard_gets_event_files(structures, tiny_config):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = quiet_train(structures, tiny_config(loggers=("tensorboard",))).folder
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    curve = [(e.step, e.value) for e in events.Scalars("valid/forces_mae")]
    expected = [(int(row["step"]), pytest.approx(float(row["valid/forces_mae"]))) for row in rows(folder)]
    assert curve == expected


def test_wandb_writes_offline_and_keeps_its_name_for_a_resumed_run(structures, tiny_config, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    try:
        folder = quiet_train(structures, tiny_config(loggers=("wandb",))).folder
    finally:
        wandb.finish()
    assert list((folder / "wandb").glob("offline-run-*"))
    name = (folder / "wandb_id").read_text()
    assert any(path.name.endswith(name) for path in (folder / "wandb").glob("offline-run-*"))
    (_, logger) = make_loggers(folder, ["wandb"], resumed_at=6)
    assert logger.version == name


def test_a_missing_package_names_its_extra(tmp_path, monkeypatch):
    from lightning.fabric.loggers import tensorboard
    from lightning.pytorch.loggers import wandb

    # What Lightning found at its import.
    monkeypatch.setattr(tensorboard, "_TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(tensorboard, "_TENSORBOARDX_AVAILABLE", False)
    monkeypatch.setattr(wandb, "_WANDB_AVAILABLE", False)
    for kind in ("tensorboard", "wandb"):
        with pytest.raises(ImportError, match=rf'pip install "pyg_equiformer\[{kind}\]"'):
            make_loggers(tmp_path, [kind])
