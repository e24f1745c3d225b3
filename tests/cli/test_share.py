import json
from pathlib import Path

import pytest

from .command import call, fine, frames_of, names, one_red_line, write_waters

pytest.importorskip("safetensors")


def test_a_run_becomes_a_folder_that_predicts_the_same(force_field):
    assert "model and card → shared/" in fine(call("share", str(force_field), "-o", "shared", "--licence", "mit"))
    assert names("shared") == {"README.md", "config.json", "model.safetensors"}
    card = Path("shared/README.md").read_text()
    metrics = json.loads((force_field / "metrics.json").read_text())
    mae, data = metrics["test"]["forces_mae"], f"water.xyz: {metrics['run']['training_structures']} structures"
    for told in ("H, O: trained on these", data, f"{mae['value']:.4g} meV/Å", "license: mit"):
        assert told in card
    assert str(force_field.parent) not in card + Path("shared/config.json").read_text()
    write_waters("fresh.xyz", 3, start=20)
    fine(call("predict", str(force_field), "fresh.xyz", "-o", "a.xyz"))
    fine(call("predict", "shared", "fresh.xyz", "-o", "b.xyz"))
    for a, b in zip(frames_of("a.xyz"), frames_of("b.xyz")):
        assert a.get_potential_energy() == b.get_potential_energy()


def test_a_committee_is_shared_whole(committee):
    fine(call("share", str(committee), "-o", "shared", "--title", "Gaps of water", "--about", "A test."))
    card = Path("shared/README.md").read_text()
    for told in ("# Gaps of water\n\nA test.", "gap in eV", "2 members", "gap spread"):
        assert told in card


def test_without_a_place_to_go_nothing_is_done(force_field):
    assert "--out FOLDER" in one_red_line(call("share", str(force_field)))
    assert "there is no file nowhere" in one_red_line(call("share", "nowhere", "-o", "shared"))
    assert "repo_id must be owner/name" in one_red_line(call("share", str(force_field), "--push", "water"))
    assert not Path("shared").exists()
