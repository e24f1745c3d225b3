import csv
import json
import resource
from pathlib import Path

import numpy as np
import pytest

from .command import call, fine, frames_of, listing, names, one_red_line, only, water, with_label, write_waters


def test_eval_writes_errors_and_figure_to_a_new_folder(force_field):
    write_waters("fresh.xyz", 3, start=20)
    text = fine(call("eval", str(force_field), "fresh.xyz", "--out", "judged"))
    assert "fresh: errors on 3 structures" in text
    assert names("judged") == {"metrics.json", "parity.png"}
    assert json.loads(Path("judged/metrics.json").read_text())["fresh"]["structures"]["value"] == 3
    assert "judged exists already" in one_red_line(call("eval", str(force_field), "fresh.xyz", "--out", "judged"))


def test_eval_on_the_training_data_tells_what_the_run_told(force_field):
    data = json.loads((force_field / "metrics.json").read_text())
    fine(call("eval", str(force_field / "model.pt"), str(force_field.parent / "water.xyz"), "--out", "all"))
    found = json.loads(Path("all/metrics.json").read_text())["water"]
    sets = [(data[name], data[name]["structures"]["value"]) for name in ("test", "valid", "train")]
    mean = sum(n * s["forces_mae"]["value"] for s, n in sets) / sum(n for _, n in sets)
    assert found["forces_mae"]["value"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("name", ["out.xyz", "out.xyz.gz", "out.db", "out.npz"])
def test_predictions_are_written_in_every_format(force_field, name):
    write_waters("fresh.xyz", 3, start=20)
    assert "3 structures → " in fine(call("predict", str(force_field), "fresh.xyz", "-o", name))
    if name.endswith(".npz"):
        found = np.load(name)
        assert found["energy"].shape == (3,)
        assert found["forces"].shape == (9, 3)
        assert str(found["forces_unit"]) == "eV/Å"
        return
    frames = frames_of(name)
    assert len(frames) == 3
    assert frames[0].get_forces().shape == (3, 3)
    assert frames[0].get_potential_energy() == pytest.approx(-2000, abs=100)


def test_structures_without_labels_are_predicted_and_not_compared(force_field):
    write_waters("bare.xyz", 2, change=with_label(lambda i: f"name=w{i}"))
    fine(call("predict", str(force_field), "bare.xyz", "-o", "out.xyz"))
    assert "true_energy" not in Path("out.xyz").read_text()
    assert "expected energy" in one_red_line(call("eval", str(force_field), "bare.xyz", "--out", "judged"))
    assert not Path("judged").exists()


def test_a_committee_tells_the_spread_of_its_members(committee):
    fine(call("predict", str(committee), str(committee.parent / "gaps.xyz"), "-o", "gaps.csv"))
    with open("gaps.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "formula", "gap [eV]", "gap_std [eV]", "true_gap [eV]"]
    assert len(rows) == 12
    assert all(float(row["gap_std [eV]"]) > 0 for row in rows)
    assert float(rows[3]["true_gap [eV]"]) == pytest.approx(7.3)


def test_frames_that_are_left_out_are_counted(force_field):
    write_waters("broken.xyz", 5, change=only(2, lambda text: text.replace("O 0", "Xx 0")))
    arguments = ["predict", str(force_field), "broken.xyz", "-o", "out.xyz"]
    assert "broken.xyz, frame 2: " in one_red_line(call(*arguments))
    text = fine(call(*arguments, "bad_frames=skip"))
    assert "1 of 5 frames left out: 1 with unknown elements (frame 2)" in text
    assert len(frames_of("out.xyz")) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "nothing", "water.xyz"], "there is no file nothing, expected the folder of a run"),
        (["eval", "empty", "water.xyz"], "there is no file empty/model.pt, expected the folder of a run"),
        (["eval", "water.xyz", "water.xyz"], "is not a checkpoint"),
        (["eval", "RUN", "nothing.xyz"], "nothing.xyz: there is no such file or folder"),
        (["eval", "RUN", "water.xyz", "targets=gap"], "the model predicts energy, forces"),
        (
            ["eval", "RUN", "water.xyz", "batch_size=3"],
            "how to read water.xyz, got batch_size",
        ),
        (["eval", "RUN", "water.xyz", "units.energy=parsec"], "unknown energy unit 'parsec'"),
        (["eval", "RUN", "sulphur.xyz"], r"atomic numbers [16], which the training set ([1, 8]) does not have"),
        (["predict", "RUN", "sulphur.xyz", "-o", "o.xyz"], "atomic numbers [16]"),
        (["predict", "RUN", "water.xyz", "-o", "o.txt"], "o.txt: expected a file ending in .xyz"),
        (["predict", "RUN", "water.xyz", "-o", "o.csv"], "forces are per atom; write a .xyz, .npz or .db file"),
        (
            ["predict", "RUN", "water.xyz", "-o", "water.xyz"],
            "exists already, expected the name of a new file",
        ),
        (["predict", "RUN", "blank.xyz", "-o", "o.xyz"], "blank.xyz: the file has no frames"),
        (["predict", "RUN", "water.xyz", "-o", "water.xyz/o.xyz"], "water.xyz"),
    ],
)
def test_what_cannot_be_done_gives_one_line_and_writes_nothing(force_field, arguments, message):
    write_waters("water.xyz", 3)
    Path("sulphur.xyz").write_text(water(0).replace("O 0", "S 0"))
    Path("blank.xyz").write_text("\n")
    Path("empty").mkdir()
    before = listing()
    error = one_red_line(call(*[str(force_field) if a == "RUN" else a for a in arguments]))
    assert message in error
    assert listing() == before


def test_a_file_is_replaced_only_when_asked(force_field):
    Path("out.xyz").write_text("precious")
    write_waters("water.xyz", 2)
    arguments = ["predict", str(force_field), "water.xyz", "-o", "out.xyz"]
    one_red_line(call(*arguments))
    assert Path("out.xyz").read_text() == "precious"
    fine(call(*arguments, "--overwrite"))
    assert len(frames_of("out.xyz")) == 2


def test_a_full_disk_gives_one_line_and_leaves_what_was_there(force_field):
    write_waters("water.xyz", 12)
    Path("out.xyz").write_text("precious")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        result = call("predict", str(force_field), "water.xyz", "-o", "out.xyz", "--overwrite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "could not write out.xyz" in one_red_line(result, 1)
    assert Path("out.xyz").read_text() == "precious"
    assert names(".") == {"water.xyz", "out.xyz"}
