"""`pyg-equiformer relax` and `md`."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pyg_equiformer import Ensemble, load_model, save_model

from .command import call, fine, frames_of, listing, one_red_line, write_waters

FAST = ["--every", "2", "--max-temperature", "1e7"]


def test_relax_writes_every_structure_and_says_what_did_not_converge(force_field):
    write_waters("water.xyz", 3)
    error = one_red_line(call("relax", "water.xyz", "--model", str(force_field), "--steps", "2", "--fmax", "1e-9"), 1)
    assert "3 of 3 structures did not converge within 2 steps" in error
    text = fine(call("relax", "water.xyz", "-m", str(force_field), "--fmax", "1e3", "-o", "out.xyz"))
    assert "3 structures → out.xyz" in text
    for path, converged in (("water-relaxed.xyz", False), ("out.xyz", True)):
        frames = frames_of(path)
        assert [frame.info["converged"] for frame in frames] == [converged] * 3
        assert all(np.isfinite(frame.get_forces()).all() for frame in frames)
    assert "exists already" in one_red_line(call("relax", "water.xyz", "-m", str(force_field)))
    fine(call("relax", "water.xyz", "-m", str(force_field), "--fmax", "1e3", "--overwrite"))


def test_relax_tells_what_is_wrong(force_field, committee):
    write_waters("water.xyz", 2)
    assert "no forces" in one_red_line(call("relax", "water.xyz", "-m", str(committee)))
    assert "there is no file none.xyz" in one_red_line(call("relax", "none.xyz", "-m", str(force_field)))
    assert "repeats in all three" in one_red_line(call("relax", "water.xyz", "-m", str(force_field), "--cell"))
    with open("water.xyz", "a") as file:
        file.write('1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nCu 0 0 0\n')
    error = one_red_line(call("relax", "water.xyz", "-m", str(force_field), "--fmax", "1e3"))
    assert "water.xyz, structure 2: the model was not trained on Cu, only on H, O" in error
    assert not listing() & {"water-relaxed.xyz"}


def test_md_runs_goes_on_and_is_the_same_as_without_a_break(force_field):
    write_waters("water.xyz", 1)
    text = fine(call("md", "water.xyz", "--model", str(force_field), "--steps", "6", *FAST))
    assert "6 steps" in text
    assert "ns/day → water-md/" in text
    shutil.copytree("water-md", "first")
    fine(call("md", "--resume", "-o", "water-md", "--time", "0.006"))
    fine(call("md", "water.xyz", "--model", str(force_field), "--time", "0.006", "-o", "whole", *FAST))
    assert len(frames_of("first/trajectory.xyz")) == 4
    for name in ("trajectory.xyz", "log.csv"):
        assert Path("water-md", name).read_bytes() == Path("whole", name).read_bytes()
    assert listing() >= {"water-md/md.png", "water-md/restart.json"}


def test_md_takes_a_committee_and_stops_where_it_disagrees(force_field):
    write_waters("water.xyz", 2)
    member, other = load_model(force_field / "model.pt"), load_model(force_field / "model.pt")
    other.energy_scale *= 3
    save_model("committee.pt", Ensemble([member, other]), elements=[1, 8])
    words = ["md", "water.xyz", "--index", "0", "-m", "committee.pt", "--ensemble", "nve", "--steps", "4", *FAST]
    error = one_red_line(call(*words, "--max-spread", "1e-6"), 1)
    assert "the committee's forces are" in error
    assert len(frames_of("water-md/stopped.xyz")) == 1
    fine(call(*words, "-o", "loose", "--max-spread", "1e6"))
    assert "forces_std_max_eV_per_A" in Path("loose/log.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["water.xyz"], "expected FILE and --model RUN, or --resume"),
        (["water.xyz", "-m", "RUN", "--time", "1", "--steps", "2"], "expected one of them"),
        (["water.xyz", "-m", "RUN", "--time", "0.0007"], "expected a whole number of time steps of 0.5 fs"),
        (["water.xyz", "-m", "RUN", "--ensemble", "npt"], "npt needs a cell"),
        (["water.xyz", "-m", "RUN", "--pressure", "1"], "expected ensemble npt"),
        (["water.xyz", "-m", "RUN", "--index", "4"], "there is none of index 4"),
        (["two.xyz", "-m", "RUN"], "holds 2 structures, expected --index"),
        (["--resume"], "expected the folder of the run, -o OUT"),
        (
            ["water.xyz", "--model", "RUN", "--max-temperature", "200"],
            "more than the 300 K of the start",
        ),
        (["water.xyz", "--model", "RUN", "--device", "toaster"], "device: expected one that there is here"),
        (["--resume", "-o", "nothing"], "expected the folder of a molecular dynamics run"),
        (["--resume", "-o", "nothing", "--seed", "3"], "--seed are those of the run"),
        (["water.xyz", "--resume", "-o", "nothing"], "the structure is that of the run"),
    ],
)
def test_md_tells_what_is_wrong_before_it_makes_a_folder(force_field, words, message):
    write_waters("water.xyz", 1)
    write_waters("two.xyz", 2)
    assert message in one_red_line(call("md", *(str(force_field) if w == "RUN" else w for w in words)))
    assert listing() == {"water.xyz", "two.xyz"}
