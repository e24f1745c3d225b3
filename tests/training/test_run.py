import json
import os
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from rich.console import Console

from pyg_equiformer import checkpoints
from pyg_equiformer.training import Interrupted, Structures, TrainConfig, train, train_sample
from pyg_equiformer.training import fit as fit_module
from pyg_equiformer.training import run as run_module
from pyg_equiformer.training.engine import Callback

FILES = {"model.pt", "metrics.json", "parity.png", "learning_curve.png", "config.yaml", "metrics.csv"}


def quiet_train(structures, config, **options):
    return train(structures, config, console=Console(quiet=True), **options)


def state(folder):
    return checkpoints.load_model(folder / "model.pt").state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_every_file_and_metrics_with_units(structures, tiny_config, tmp_path, capsys):
    config = tiny_config()
    result = train(structures, config, out=tmp_path / "out", console=Console(width=110))
    assert {p.name for p in result.folder.iterdir()} == FILES
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics == result.metrics
    for split, count in (("test", 6), ("valid", 1)):
        assert metrics[split]["energy_mae"]["unit"] == "meV"
        assert metrics[split]["forces_mae"]["unit"] == "meV/Å"
        assert metrics[split]["forces_mae"]["value"] > 0
        assert metrics[split]["structures"]["value"] == count
    assert metrics["test"]["energy_std"]["value"] > 0
    assert metrics["run"]["steps"] == 2 * 3
    assert metrics["run"]["training_structures"] == 19
    assert TrainConfig.from_dict(yaml.safe_load((result.folder / "config.yaml").read_text())) == config
    shown = capsys.readouterr()
    assert "19 structures to train, 1 to validate, 6 to test" in shown.out.replace("\n", " ")
    assert "MAE" in shown.out
    for chatter in ("GPU", "Tip", "num_workers", "litlogger"):
        assert chatter not in shown.out + shown.err


def test_the_checkpoint_reproduces_the_reported_errors(structures, tiny_config):
    result = quiet_train(structures, tiny_config())
    model = checkpoints.load_model(result.folder / "model.pt")
    errors = []
    with torch.no_grad():
        for s in structures.test:
            out = model(s.z, s.pos, torch.zeros_like(s.z))
            errors.append((out["forces"] - s.forces).abs().mean())
    expected = result.metrics["test"]["forces_mae"]["value"]
    assert 1000 * torch.stack(errors).mean().item() == pytest.approx(expected, rel=1e-3)


def test_the_checkpoint_holds_the_averaged_weights(structures, tiny_config, monkeypatch):
    made = []

    class Recorded(fit_module.EMAWeights):
        def __init__(self, decay):
            super().__init__(decay)
            made.append(self)
            self.latest = {}

        def on_train_batch_end(self, trainer, pl_module, *rest):
            super().on_train_batch_end(trainer, pl_module, *rest)
            self.latest = {k: v.clone() for k, v in pl_module.model.state_dict().items()}

    monkeypatch.setattr(fit_module, "EMAWeights", Recorded)
    saved = state(quiet_train(structures, tiny_config(ema_decay=0.95)).folder)
    assert same(saved, made[0].averaged.model.state_dict())
    assert not same(saved, made[0].latest)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(structures, tiny_config):
    first, second, other = (state(quiet_train(structures, tiny_config(seed=s)).folder) for s in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_the_number_of_threads_is_that_of_the_settings_and_is_put_back(structures, tiny_config):
    before = torch.get_num_threads()
    for threads in (1, 2):
        assert quiet_train(structures, tiny_config(threads=threads)).metrics["run"]["threads"] == threads
    assert torch.get_num_threads() == before


def test_max_time_ends_the_run_and_brings_the_learning_rate_down(structures, tiny_config, monkeypatch):
    rates = []

    class Record(Callback):
        def on_train_batch_end(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    class Stop(run_module.StopOnInterrupt, Record):
        def on_train_batch_end(self, trainer, *rest):
            super().on_train_batch_end(trainer, *rest)
            Record.on_train_batch_end(self, trainer)

    monkeypatch.setattr(run_module, "StopOnInterrupt", Stop)
    result = quiet_train(structures, tiny_config(epochs=None, max_time=2.0, learning_rate=1e-3))
    assert {p.name for p in result.folder.iterdir()} == FILES
    assert 1e-5 <= rates[-1] < 0.1 * max(rates)


def test_training_lowers_the_errors(structures, tiny_config):
    short, long = (quiet_train(structures, tiny_config(epochs=n)).metrics["test"] for n in (1, 40))
    assert long["forces_mae"]["value"] < 0.5 * short["forces_mae"]["value"]


def test_ctrl_c_ends_the_run_with_a_usable_model(structures, tiny_config, monkeypatch):
    class PressCtrlC(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 4:
                os.kill(os.getpid(), signal.SIGINT)

    original = fit_module.ProgressReport
    monkeypatch.setattr(fit_module, "ProgressReport", lambda console: type("Both", (PressCtrlC, original), {})(console))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"stopped by Ctrl-C after [45] steps; the model so far is in .*model\.pt"):
        quiet_train(structures, tiny_config(epochs=100, validations=1), name="stopped")
    assert signal.getsignal(signal.SIGINT) is before
    model = checkpoints.load_model("runs/stopped/model.pt")
    s = structures.test[0]
    assert torch.isfinite(model(s.z, s.pos, torch.zeros_like(s.z))["forces"]).all()


def test_a_second_ctrl_c_ends_at_once_and_keeps_the_last_validated_model(structures, tiny_config, monkeypatch):
    class PressTwice(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 5:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    original = fit_module.ProgressReport
    monkeypatch.setattr(fit_module, "ProgressReport", lambda console: type("Both", (PressTwice, original), {})(console))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"after 5 steps; the model so far is in"):
        quiet_train(structures, tiny_config(epochs=4, validations=4), name="twice")
    assert signal.getsignal(signal.SIGINT) is before
    checkpoints.load_model("runs/twice/model.pt")


def test_ctrl_c_during_the_test_keeps_the_trained_model(structures, tiny_config, monkeypatch):
    class PressCtrlC(Callback):
        def on_predict_batch_start(self, *_):
            os.kill(os.getpid(), signal.SIGINT)

    original = fit_module.ProgressReport
    monkeypatch.setattr(fit_module, "ProgressReport", lambda console: type("Both", (PressCtrlC, original), {})(console))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"after 6 steps; the model so far is in"):
        quiet_train(structures, tiny_config(), name="tested")
    assert signal.getsignal(signal.SIGINT) is before
    checkpoints.load_model("runs/tested/model.pt")


def test_an_element_that_was_not_trained_on_is_an_error_before_any_folder_is_made(structures, tiny_config, tmp_path):
    strange = structures.test[0].clone()
    strange.z = torch.tensor([16, 1, 1])
    with pytest.raises(ValueError, match=r"test set has atomic numbers \[16\], which the training set \(\[1, 8\]\)"):
        quiet_train(Structures(structures.train, test=[strange]), tiny_config())
    assert not (tmp_path / "runs").exists()


def test_a_folder_in_use_is_refused_before_training(structures, tiny_config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ValueError, match="exists already"):
        quiet_train(structures, tiny_config(), out=tmp_path / "mine")


def test_without_lightning_the_error_names_the_extra():
    code = "import sys; sys.modules['lightning'] = None; from pyg_equiformer.training import train"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "pyg_equiformer[train]"' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_training_reaches_its_accuracy(seed):
    metrics = train_sample(TrainConfig(seed=seed)).metrics["test"]
    assert metrics["structures"]["value"] == 250
    assert metrics["forces_mae"]["value"] <= 0.03 * metrics["forces_std"]["value"]
    assert metrics["energy_mae"]["value"] <= 0.07 * metrics["energy_std"]["value"]
