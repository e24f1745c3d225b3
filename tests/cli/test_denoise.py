import json
import re
from pathlib import Path

import pytest

from pyg_equiformer import load_model
from tests.data.protein_texts import atom, chain, pdb, residue

from .command import call, fine, names, one_red_line

pytest.importorskip("biotite")

TINY = ["--layers", "1", "--irreps", "8x0e+4x1e", "--heads", "2", "--epochs", "1"]


@pytest.fixture
def folder():
    Path("proteins").mkdir()
    for name, sequence in {"a": "AGS", "b": "GGGG", "c": "SASAS"}.items():
        Path(f"proteins/{name}.pdb").write_text(chain(sequence))
    return "proteins"


def test_a_folder_of_structures_becomes_a_model_a_figure_metrics_and_structures(folder):
    Path(f"{folder}/d.pdb").write_text(pdb(residue("GLY", 1), [atom("CA", "GLY", 2)]))
    text = fine(call("denoise", folder, "--out", "run", *TINY, "--test-fraction", "1", "--noise", "0.5"))
    assert "read 4 chains" in text
    assert "1 residues without a complete backbone (N, CA, C) skipped" in text
    assert "training on 3 chains, testing with 1" in text
    found = json.loads(Path("run/metrics.json").read_text())
    (told,) = found["test"]["chains"]
    before, after = re.search(r"RMSD (\S+) → (\S+) Å", text).groups()
    assert float(before) == pytest.approx(told["rmsd_before"]["value"], abs=1e-3)
    assert float(after) == pytest.approx(told["rmsd_after"]["value"], abs=1e-3)
    assert (found["training"]["steps"], found["settings"]["noise"]) == (3, 0.5)
    assert found["reading"] == {"residues without a complete backbone (N, CA, C) skipped": 1}
    assert names("run") == {"metrics.json", "denoising.png", "model.pt", "structures"}
    assert names("run/structures") == {f"{told['name']}-noisy.pdb", f"{told['name']}-denoised.pdb"}
    assert load_model("run/model.pt").config.output == "node_vector"


def test_test_files_are_used_and_their_sequences_left_out_of_the_training(folder):
    Path("mine.pdb").write_text(chain("GGGG"))
    text = fine(call("denoise", folder, "--test", "mine.pdb", "-o", "run", *TINY, "--atoms", "heavy"))
    assert "1 chains with the sequence of a test chain left out of the training" in text
    assert "training on 2 chains, testing with 1" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--atoms", "all"], "atoms must be 'backbone'"),
        (["--attention", "nothing"], "attention must be one of"),
        (["--irreps", "8x0e"], "irreps needs scalars (0e) and vectors (1e), as in 32x0e+32x1e, got 8x0e"),
        (["--noise", "-1"], "noise must be positive"),
        (["--test-fraction", "5"], "cannot set 5 of 3 chains apart"),
        (["--test-fraction", "0.2", "--test", "a.pdb"], "--test and --test-fraction"),
        (["--test", "none.pdb"], "there is no file none.pdb"),
        (["--max-time", "soon"], "--max-time: expected a duration"),
    ],
)
def test_wrong_settings_give_one_line_and_no_folder(folder, arguments, message):
    assert message in one_red_line(call("denoise", folder, "-o", "run", *TINY, *arguments))
    assert not Path("run").exists()


def test_broken_files_and_full_folders_are_named(folder):
    Path(f"{folder}/d.pdb").write_text(chain()[:100])
    assert "d.pdb, line 2: expected x, y, z" in one_red_line(call("denoise", folder, "-o", "run", *TINY))
    assert "proteins exists already" in one_red_line(call("denoise", folder, "-o", folder, *TINY))
