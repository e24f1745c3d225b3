import json
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from rich.console import Console

from pyg_equiformer import checkpoints, load_model
from pyg_equiformer.training import Interrupted, Structures, TrainConfig, train
from pyg_equiformer.training import finish as finish_module
from pyg_equiformer.training import fit as fit_module
from pyg_equiformer.training.engine import Callback

from .runs import PressCtrlC, quiet_train, same, state

FILES = {"model.pt", "metrics.json", "report.md", "parity.png", "learning_curve.png", "config.yaml", "metrics.csv"}


@pytest.fixture
def handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_leaves_every_file_and_metrics_with_units(structures, tiny_config, tmp_path, capsys):
    config = tiny_config()
    result = train(structures, config, out=tmp_path / "out", console=Console(width=110))
    assert {p.name for p in result.folder.iterdir()} == FILES
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics == result.metrics
    for split, count in (("test", 6), ("valid", 1), ("train", 19)):
        assert metrics[split]["energy_mae"]["unit"] == "meV"
        assert metrics[split]["forces_mae"]["unit"] == "meV/Å"
        assert metrics[split]["forces_mae"]["value"] > 0
        assert metrics[split]["by_element"]["O"]["atoms"]["value"] == count
        assert metrics[split]["structures"]["value"] == count
    assert metrics["test"]["energy_std"]["value"] > 0
    assert metrics["run"]["steps"] == 2 * 3
    assert metrics["run"]["training_structures"] == 19
    assert TrainConfig.from_dict(yaml.safe_load((result.folder / "config.yaml").read_text())) == config
    shown = capsys.readouterr()
    assert "19 structures to train, 1 to validate, 6 to test" in shown.out.replace("\n", " ")
    assert "MAE" in shown.out
    for chatter in ("GPU", "Tip", "num_workers", "litlogger", "Seed"):
        assert chatter not in shown.out + shown.err


def test_norms_and_activations_of_the_blocks_are_settings_of_a_run_and_are_trained(structures, tiny_config, tmp_path):
    blocks = {"norm": "merged", "norm_position": "sandwich", "ffn_activation": "norm", "ffn_norms": True}
    config = tiny_config(model={**tiny_config().model, **blocks, "num_layers": 2})
    config.write(tmp_path / "mine.yaml")
    model = load_model(quiet_train(structures, TrainConfig.load(tmp_path / "mine.yaml")).folder / "model.pt").model
    assert {name: getattr(model.config, name) for name in blocks} == blocks
    block = model.blocks[0]
    norms = (block.norm_attn_out, block.norm_ffn_out)
    for trained, fresh in [(norm.weight["1e"], 1.0) for norm in norms] + [(block.ffn.activation.bias["1e"], 0.0)]:
        assert (trained != fresh).all()


def test_several_test_sets_are_told_apart(structures, tiny_config):
    sets = Structures(structures.train, test={"near": structures.test[:2], "far": structures.test[2:]}, name="water")
    metrics = quiet_train(sets, tiny_config()).metrics
    assert {name: values["structures"]["value"] for name, values in metrics.items() if name != "run"} == {
        "near": 2,
        "far": 4,
        "valid": 1,
        "train": 19,
    }


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
    config = tiny_config(model={**tiny_config().model, "attn_dropout": 0.2})
    first, second, other = (state(quiet_train(structures, config.replace(seed=s)).folder) for s in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_accumulated_batches_make_one_step(structures, tiny_config):
    # 18 structures in batches of 3: six batches a pass.
    sets = Structures(structures.train[:18], structures.train[18:], structures.test)
    result = quiet_train(sets, tiny_config(batch_size=3, accumulate=3))
    assert result.metrics["run"]["steps"] == 4


def test_the_number_of_threads_is_that_of_the_settings_and_is_put_back(structures, tiny_config):
    before = torch.get_num_threads()
    used = []

    class Count(Callback):
        def on_train_batch_end(self, *_):
            used.append(torch.get_num_threads())

    for threads in (1, 2):
        config = tiny_config(threads=threads, epochs=1, batch_size=20)
        assert quiet_train(structures, config, callbacks=[Count()]).metrics["run"]["threads"] == threads
    assert used == [1, 2]
    assert torch.get_num_threads() == before


def test_max_time_ends_the_run_and_brings_the_learning_rate_down(structures, tiny_config):
    rates = []

    class Record(Callback):
        def on_train_batch_end(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    config = tiny_config(epochs=None, max_time=4.0, learning_rate=1e-3)
    result = quiet_train(structures, config, callbacks=[Record()])
    assert {p.name for p in result.folder.iterdir()} == FILES
    assert 1e-5 <= rates[-1] < 0.1 * max(rates)


def test_training_lowers_the_errors(structures, tiny_config):
    short, long = (quiet_train(structures, tiny_config(epochs=n)).metrics["test"] for n in (1, 25))
    assert long["forces_mae"]["value"] < 0.5 * short["forces_mae"]["value"]


@pytest.mark.usefixtures("handler_is_put_back")
def test_ctrl_c_ends_the_run_with_a_usable_model_and_says_how_to_go_on(structures, tiny_config):
    config = tiny_config(epochs=100, validations=1)
    with pytest.raises(Interrupted) as raised:
        quiet_train(structures, config, name="stopped", callbacks=[PressCtrlC(after=4)])
    assert str(raised.value) == (
        "stopped by Ctrl-C after 4 steps; the model so far is in runs/stopped/model.pt; "
        "go on with: pyg-equiformer resume runs/stopped"
    )
    model = checkpoints.load_model("runs/stopped/model.pt")
    s = structures.test[0]
    assert torch.isfinite(model(s.z, s.pos, torch.zeros_like(s.z))["forces"]).all()


@pytest.mark.usefixtures("handler_is_put_back")
def test_a_second_ctrl_c_ends_at_once_and_keeps_the_last_validated_model(structures, tiny_config):
    config = tiny_config(epochs=4, validations=4)
    with pytest.raises(Interrupted, match=r"after 5 steps; the model so far is in"):
        quiet_train(structures, config, name="twice", callbacks=[PressCtrlC(before=5, times=2)])
    checkpoints.load_model("runs/twice/model.pt")


@pytest.mark.usefixtures("handler_is_put_back")
def test_ctrl_c_during_the_test_keeps_the_trained_model(structures, tiny_config, monkeypatch):
    def pressed(*args, **options):
        PressCtrlC().press()
        return predict(*args, **options)

    predict = finish_module.predict
    monkeypatch.setattr(finish_module, "predict", pressed)
    with pytest.raises(Interrupted, match=r"after 6 steps; the model so far is in"):
        quiet_train(structures, tiny_config(), name="tested")
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
    metrics = quiet_train(None, TrainConfig(seed=seed)).metrics["test"]
    assert metrics["structures"]["value"] == 250
    assert metrics["forces_mae"]["value"] <= 0.03 * metrics["forces_std"]["value"]
    assert metrics["energy_mae"]["value"] <= 0.07 * metrics["energy_std"]["value"]
