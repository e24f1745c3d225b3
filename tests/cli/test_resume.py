import signal
from pathlib import Path

import pytest
import torch

from pyg_equiformer import load_model

from .command import TINY, call, fine, names, one_red_line, start, wait_for, write_waters

#: Validations soon and often: a model is saved at each.
LONG = [*TINY[:-1], "validations=10", "checkpoint_every=3", "--epochs", "60"]


def weights(folder):
    return load_model(f"{folder}/model.pt").state_dict()


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_saves_the_run_says_how_to_go_on_and_resume_ends_it(presses):
    process = start("train", write_waters("water.xyz"), *LONG, "--out", "run")
    wait_for(Path("run/model.pt"), process)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, (out, err)
    assert err.startswith("stopped by Ctrl-C after ")
    assert "the model so far is in run/model.pt; go on with: pyg-equiformer resume run" in err
    assert err.count("\n") == 1
    assert "report.md" not in names("run")
    text = fine(call("resume", "run"))
    assert "errors on structures that were not trained on" in text
    assert {"report.md", "metrics.json", "parity.png"} <= names("run")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_weights_of_an_undisturbed_one():
    words = [write_waters("water.xyz"), *LONG, "model.attn_dropout=0.2"]
    fine(call("train", *words, "--out", "whole"))
    process = start("train", *words, "--out", "run")
    wait_for(Path("run/last.ckpt"), process)
    process.kill()
    process.communicate()
    assert not Path("run/metrics.json").exists()
    assert not [name for name in names("run") if name.startswith(".last")]
    fine(call("resume", "run"))
    whole, resumed = weights("whole"), weights("run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_a_committee_that_is_interrupted_goes_on_with_the_member_under_way():
    process = start("train", write_waters("water.xyz"), *LONG, "--ensemble", "2", "--out", "run")
    wait_for(Path("run/member-1/model.pt"), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, (out, err)
    assert "go on with the committee: pyg-equiformer resume run" in err
    fine(call("resume", "run"))
    assert "member-1" in Path("run/report.md").read_text()


def test_what_cannot_be_resumed_gives_one_line(force_field):
    Path("empty").mkdir()
    assert "there is no folder nothing" in one_red_line(call("resume", "nothing"))
    assert "empty has no config.yaml, expected the folder of a run" in one_red_line(call("resume", "empty"))
    (Path("empty") / "config.yaml").write_text("epochs: 3\n")
    assert "the run ended before its first save; train anew" in one_red_line(call("resume", "empty"))
    error = one_red_line(call("resume", str(force_field)))
    assert f"is done, there is nothing to go on with: its results are in {force_field}/report.md" in error
