import json
from pathlib import Path

import pytest

from tests.data.protein_texts import chain

from .command import call, fine, one_red_line

pytest.importorskip("biotite")
pytest.importorskip("lightning")

TINY = ("model.blocks=1", "model.layers=1", "model.irreps=4x0e+4x1e", "model.num_neighbors=4", "model.num_basis=4")
EVERY = "ARNDCQEGHILKMFPSTWYV"


@pytest.fixture
def every():
    """A made-up chain with each amino acid once."""
    Path("every.pdb").write_text(heavy(EVERY))
    return "every.pdb"


def heavy(letters, path="made.pdb"):
    """A chain with all heavy atoms, at places that a seed tells."""
    import torch

    from pyg_equiformer.data.protein_writer import write_chain
    from tests.folding import samples

    data = samples.chain(letters, 3)
    generator = torch.Generator().manual_seed(0)
    data.pos = data.residue[:, None] * torch.tensor([1.3, 0.0, 0.0]) + torch.randn(
        len(data.pos), 3, generator=generator
    )
    data.residue_ids = tuple(str(k + 1) for k in range(len(letters)))
    write_chain(path, data)
    return Path(path).read_text()


def trained(every, *more):
    fine(
        call(
            "fold", "train", "-s", every, "--valid", every, "-o", "run", "--epochs", "6", "validations=2", *TINY, *more
        )
    )


def test_a_model_is_trained_used_and_judged_from_the_command_line(every):
    trained(every)
    names = {"config.yaml", "learning_curve.png", "metrics.csv", "metrics.json", "model.pt", "last.ckpt"}
    assert {p.name for p in Path("run").iterdir()} <= names
    told = json.loads(Path("run/metrics.json").read_text())
    assert told["steps"] == 6
    assert 0 < told["validation"]["fape"] < 5
    Path("two.fasta").write_text(">first\nMKTAY\n>second of them\nGAS:WG\n")
    text = fine(call("fold", "predict", "run", "two.fasta", "-o", "out", COLUMNS="120"))
    assert "first: 5 residues, confidence" in text
    lines = Path("out/second.pdb").read_text().splitlines()
    assert {line[21] for line in lines if line.startswith("ATOM")} == {"A", "B"}
    assert all(0 < float(line[60:66]) < 100 for line in lines if line.startswith("ATOM"))
    assert "out/first.pdb exists already" in one_red_line(call("fold", "predict", "run", "two.fasta", "-o", "out"))
    fine(call("fold", "predict", "run", "two.fasta", "-o", "out", "--overwrite", "--cif", "--starts", "2"))
    assert Path("out/first.cif").exists()
    text = fine(call("fold", "eval", "run", every, COLUMNS="140"))
    found = json.loads(Path("run/eval/metrics.json").read_text())
    assert found["proteins"][0]["residues"] == 20
    assert f"{found['mean']['lddt_ca']:.2f}" in text
    assert Path("run/eval/folds.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(every):
    import torch

    from pyg_equiformer.folding.run import read_split, resume_fold, train_fold
    from pyg_equiformer.folding.train_config import FoldTrainConfig
    from pyg_equiformer.training import Interrupted
    from pyg_equiformer.training.progress import StopOnInterrupt

    model = {"blocks": 1, "layers": 1, "irreps": "4x0e+4x1e", "num_neighbors": 4, "num_basis": 4, "recycles": 1}
    config = FoldTrainConfig(
        structures=(every,), valid=(every,), epochs=8, max_time=None, validations=2, crop=9, interpolate=0.5,
        model=model, violation_start=0.4, mixed_starts=0.5, local_weight=2.0,
    )  # fmt: skip
    whole = train_fold(config, "whole")
    ended = StopOnInterrupt.on_train_batch_end

    def stop(self, trainer, *rest):
        self.requested = self.requested or trainer.global_step == 3
        ended(self, trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopOnInterrupt, "on_train_batch_end", stop)
        with pytest.raises(Interrupted, match="after 3 steps; go on with: pyg-equiformer resume part"):
            train_fold(config, "part", split=read_split(config))
    fine(call("resume", "part"))
    states = [torch.load(f"{run}/model.pt", weights_only=True)["state_dict"] for run in (whole, "part")]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    with pytest.raises(ValueError, match="part is done"):
        resume_fold("part")


def test_wrong_words_are_told_in_one_line(every):
    def told(*words):
        return one_red_line(call("fold", *words))

    assert "--structures: expected files" in told("train")
    assert "there is no setting 'crops'; did you mean crop" in told("train", "-s", every, "crops=3")
    assert "EquiFoldConfig has no setting 'block'; did you mean blocks" in told("train", "-s", every, "model.block=3")
    assert "seed: expected it as an option, --seed" in told("train", "-s", every, "seed=3")
    assert "there is no preset 'large'" in told("train", "-s", every, "--preset", "large")
    assert "nowhere" in told("train", "-s", "nowhere.pdb")
    Path("glycine.pdb").write_text(chain("GGG"))
    message = told("train", "-s", "glycine.pdb", "--valid", "glycine.pdb", "-o", "new")
    assert "no chain has a complete group of" in message
    assert not Path("new").exists()
    Path("a.fasta").write_text(">a\nMKTB\n")
    assert "no model.pt" in told("predict", ".", "a.fasta", "-o", "out")
    trained(every)
    message = told("predict", "run", "a.fasta", "-o", "out")
    assert "a.fasta" in message
    assert "'B'" in message
    Path("b.fasta").write_text(">a\nMKT\n>b\nGA\n")
    assert "one file for 2 proteins" in told("predict", "run", "b.fasta", "-o", "both.pdb")
