import pytest
import torch

from pyg_equiformer import checkpoints
from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training.engine import Callback
from pyg_equiformer.training.evaluation import load_run
from pyg_equiformer.training.saving import SaveModel
from pyg_equiformer.training.trained_file import save_trained

from .runs import quiet_train, same, state


class Saves(Callback):
    """Steps at which the state of the run is saved."""

    def __init__(self):
        self.steps = []

    def on_save_checkpoint(self, trainer, *_):
        self.steps.append(trainer.global_step)


class Spoil(Callback):
    """Spoil the weights after a step; keep the losses of the validations and what was saved at each."""

    def __init__(self, step, folder):
        self.step, self.folder, self.losses, self.saved = step, folder, [], []

    def on_train_batch_end(self, trainer, task, *_):
        if trainer.global_step == self.step:
            with torch.no_grad():
                for parameter in task.model.parameters():
                    parameter.mul_(3.0)

    def on_validation_end(self, trainer, task):
        self.losses.append(float(trainer.callback_metrics["valid/loss"]))
        self.saved.append(state(self.folder))


def test_the_state_is_saved_every_so_many_steps_and_after_a_validation_that_follows(structures, tiny_config):
    saves = Saves()
    result = quiet_train(structures, tiny_config(checkpoint_every=2), callbacks=[saves])
    assert saves.steps == [2, 4, 6]
    # Validations are after steps 3 and 6: the last state knows of both.
    content = torch.load(result.folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == 6
    assert {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks"} <= set(content)
    assert {"elapsed", "train_errors", "fingerprint"} <= set(content)
    assert content["fingerprint"]["structures"] == 19
    assert content["train_errors"] == {}


def test_accumulated_steps_are_saved_as_a_whole(structures, tiny_config):
    saves = Saves()
    quiet_train(structures, tiny_config(batch_size=4, accumulate=2, checkpoint_every=1, epochs=2), callbacks=[saves])
    assert saves.steps == [1, 2, 3, 4, 5]


def test_short_runs_save_no_state_unless_told_to(structures, tiny_config):
    result = quiet_train(structures, tiny_config())
    assert not (result.folder / "last.ckpt").exists()


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_best_weights_are_kept_or_the_last(structures, tiny_config, tmp_path, select):
    spoil = Spoil(7, tmp_path / "run")
    config = tiny_config(epochs=3, validations=3, ema_decay=0.0, select=select, learning_rate=1e-2)
    result = quiet_train(structures, config, out=tmp_path / "run", callbacks=[spoil])
    first, second, third = spoil.losses
    assert second < first < third
    kept = state(tmp_path / "run")
    assert same(kept, spoil.saved[1 if select == "best" else 2])
    assert same(spoil.saved[1], spoil.saved[2]) == (select == "best")
    assert same(kept, result.model.state_dict())
    # The reported errors are those of the weights that are kept.
    with torch.no_grad():
        out = checkpoints.load_model(tmp_path / "run" / "model.pt")(structures.test[0].z, structures.test[0].pos)
        again = result.model(structures.test[0].z, structures.test[0].pos)
    assert torch.equal(out["energy"], again["energy"])


def test_a_model_is_saved_at_the_end_where_no_validation_saved_one(structures, tiny_config, monkeypatch):
    monkeypatch.setattr(SaveModel, "on_validation_end", lambda *_: None)
    result = quiet_train(structures, tiny_config(select="best"))
    assert same(state(result.folder), result.model.state_dict())


def test_a_saved_model_tells_its_training_and_its_targets(structures, tiny_config, tmp_path):
    config = tiny_config(seed=3, weight={"forces": 7.0})
    result = quiet_train(structures, config)
    content = torch.load(result.folder / "model.pt", weights_only=True)
    assert content["extra"]["training"]["seed"] == 3
    run = load_run(result.folder)
    assert run.config == config
    assert run.targets == (ENERGY, FORCES)
    assert run.elements == (1, 8)
    save_trained(tmp_path / "again.pt", run.model, run.config, run.targets, run.elements)
    assert load_run(tmp_path / "again.pt").targets == (ENERGY, FORCES)
    assert same(checkpoints.load_model(tmp_path / "again.pt").state_dict(), state(result.folder))
