import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from pyg_equiformer import load_model
from pyg_equiformer.training import Interrupted, TrainConfig, resume, train
from pyg_equiformer.training.engine import Callback

from .resumed_run import CONFIG, structures

ROOT = Path(__file__).parents[2]
STEPS = 35


def run(folder, what, step=0, **options):
    command = [sys.executable, "-m", "tests.training.resumed_run", str(folder), what, str(step)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options
    )


def weights(folder):
    return load_model(folder / "model.pt").state_dict()


def assert_same(folder, other):
    a, b = weights(folder), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    result = train(structures(), CONFIG, out=folder, console=Console(quiet=True))
    assert result.metrics["run"]["steps"] == STEPS
    return folder


def test_a_run_killed_at_a_random_step_ends_with_the_weights_of_an_undisturbed_one(undisturbed, tmp_path):
    # Between checkpoints, at one, at the end of a pass, at a validation: whatever the day brings.
    step = random.SystemRandom().randrange(4, STEPS)
    print("killed after step", step)
    killed = run(tmp_path / "run", "train", step)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run" / "metrics.json").exists()
    done = run(tmp_path / "run", "resume")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "run", undisturbed)
    log = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert log == (undisturbed / "metrics.csv").read_text().splitlines()


def test_a_run_stopped_by_ctrl_c_at_any_step_goes_on_to_the_same_weights(undisturbed, tmp_path):
    # 7 and 14 end a pass, 8 and 16 are followed by a validation.
    for step in (1, 7, 8, 14, 16, 34):
        folder = tmp_path / str(step)
        with pytest.raises(
            Interrupted, match=f"stopped by Ctrl-C after {step} steps; .*; go on with: pyg-equiformer resume"
        ):
            train(structures(), CONFIG, out=folder, console=Console(quiet=True), callbacks=[StopAt(step)])
        resume(folder, structures=structures(), console=Console(quiet=True))
        assert_same(folder, undisturbed)


def test_a_run_with_accumulation_a_limit_on_edges_and_denoising_goes_on_to_the_same_weights(tmp_path):
    config = CONFIG.replace(accumulate=2, max_edges=14, denoising="dens", noise_fraction=0.7, select="best")
    train(structures(), config, out=tmp_path / "whole", console=Console(quiet=True))
    with pytest.raises(Interrupted):
        train(structures(), config, out=tmp_path / "run", console=Console(quiet=True), callbacks=[StopAt(11)])
    resume(tmp_path / "run", structures=structures(), console=Console(quiet=True))
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_a_run_that_validates_after_every_step_is_saved_and_goes_on_to_the_same_weights(tmp_path):
    config = CONFIG.replace(epochs=2, validations=14, checkpoint_every=2)
    train(structures(), config, out=tmp_path / "whole", console=Console(quiet=True))

    class Fail(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(structures(), config, out=tmp_path / "run", console=Console(quiet=True), callbacks=[Fail()])
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 6
    resume(tmp_path / "run", structures=structures(), console=Console(quiet=True))
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


def test_a_finished_run_is_only_judged_again(undisturbed, tmp_path):
    before = weights(undisturbed)
    result = resume(undisturbed, structures=structures(), console=Console(quiet=True))
    after = weights(undisturbed)
    assert result.metrics["run"]["steps"] == STEPS
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_the_state_is_whole_whenever_the_process_is_killed(tmp_path):
    command = [sys.executable, "-c", SAVES_ALWAYS, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    state, end = tmp_path / "run" / "last.ckpt", time.monotonic() + 60
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(random.SystemRandom().random())
    process.kill()
    process.communicate()
    content = torch.load(state, weights_only=True)
    assert content["global_step"] >= 1
    assert load_model(tmp_path / "run" / "model.pt") is not None


SAVES_ALWAYS = """
import sys
from pathlib import Path
from tests.training.resumed_run import CONFIG, main
main(Path(sys.argv[1]), "train", 10**9, CONFIG.replace(epochs=10**5, checkpoint_every=1, validations=5 * 10**5))
"""


def test_a_full_disk_ends_with_a_clear_message_and_leaves_the_last_checkpoint(tmp_path):
    # A limit on the size of files is what a process can do to itself without a disk to fill.
    code = LIMITED.format(folder=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "OSError" in done.stderr
    assert "could not write" in done.stderr.splitlines()[-1]
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 3
    assert {p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")} == set()
    resume(tmp_path / "run", structures=structures(), console=Console(quiet=True))
    assert (tmp_path / "run" / "metrics.json").exists()


LIMITED = """
import resource, signal
from pathlib import Path
from rich.console import Console
from pyg_equiformer.training import train
from pyg_equiformer.training.engine import Callback
from tests.training.resumed_run import CONFIG, structures
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

class Fill(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

train(structures(), CONFIG, out=Path("{folder}"), console=Console(quiet=True), callbacks=[Fill()])
"""


def test_a_run_without_state_and_a_run_on_other_data_are_refused(undisturbed, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        resume(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"has no config\.yaml, expected the folder of a run"):
        resume(tmp_path / "empty")
    TrainConfig().write(tmp_path / "empty" / "config.yaml")
    with pytest.raises(ValueError, match="ended before its first save; train anew"):
        resume(tmp_path / "empty")
    other = structures()
    other.train[3].energy += 0.1
    with pytest.raises(ValueError, match="the training data are not those that the run began with: energy_mean"):
        resume(undisturbed, structures=other, console=Console(quiet=True))


@pytest.mark.parametrize("told", [True, False])
def test_a_run_whose_preset_is_no_longer_what_it_was_is_refused(undisturbed, tmp_path, told):
    """Weights of both norms have the same names and shapes: nothing else would tell."""
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    state = torch.load(folder / "last.ckpt", weights_only=False)
    assert state["network"]["norm"] == "soft"
    if told:
        state["network"]["norm"] = "layer"
    else:  # a state of a version that did not know the norm
        del state["network"]
    torch.save(state, folder / "last.ckpt")
    with pytest.raises(ValueError, match=r"model\.norm was 'layer', is 'soft'; expected the same"):
        resume(folder, structures=structures(), console=Console(quiet=True))
    if not told:  # settings that choose the norm themselves mean what they meant
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        settings["model"]["norm"] = "soft"
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        assert resume(folder, structures=structures(), console=Console(quiet=True)).metrics["run"]["steps"] == STEPS
