"""What is wrong gives one line that names it and the fix; what is left out is counted; nothing is half written."""

import lzma
import re
from pathlib import Path

import numpy as np
import pytest

from pyg_equiformer.data.label_units import energy_factor

from .command import TINY, call, fine, listing, one_red_line, only, water, with_label, write_waters


def dry(*words):
    return call("train", *words, "--dry-run")


def no_energy(text):
    return re.sub(r"energy=\S+ ", "", text)


def in_hartree(text):
    factor = energy_factor("Ha")
    return re.sub(r"energy=(\S+)", lambda match: f"energy={float(match[1]) / factor}", text)


def stating(unit):
    return lambda text: re.sub(r"(energy=\S+)", rf"\1 energy_unit={unit}", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "nothing: there is no such file or folder"),
        (["watr.xyz"], "watr.xyz: there is no such file or folder; did you mean water.xyz?"),
        (["qm8:gap"], "built-in data sets start with qm9:, md17:, rmd17:, ccsd:"),
        (["qm9:gab"], "there is no data set 'qm9:gab'; did you mean qm9:gap"),
        (["md17:asprin"], "did you mean md17:aspirin?"),
        (["rmd17:aspirin", "targets=energy"], "rmd17:aspirin is no file of yours"),
        (["rmd17:aspirin", "valid_fraction=9"], "the valid set is that of rmd17:aspirin, expected one of the two"),
        (["targets=forces"], "the bundled sample is no file of yours"),
        (["--test", "water.xyz"], "--test or --valid was given without DATA"),
        (["water.xyz", "other.xyz"], "expected settings as name=value"),
        (["water.xyz", "--config", "mine.yaml"], "there is no file mine.yaml"),
        (["water.xyz", "--config", "water.xyz"], "water.xyz: expected"),
        (["water.xyz", "--preset", "smal"], "there is no preset 'smal', expected one of 3bpa, .*; did you mean small?"),
        (["water.xyz", "--out", "a", "--name", "b"], "--out and --name both name the folder"),
        (["water.xyz", "--out", "full"], "full exists already, expected a new or empty folder"),
        (["water.xyz", "--out", "water.xyz"], "water.xyz exists already"),
        (["water.xyz", "--name", "a/b"], "expected a name without slashes"),
        (["water.xyz", "--name", ""], "--name: expected the name of a folder, got nothing"),
        (["water.xyz", "--max-time", "soon"], "expected a duration such as 90s, 20m or 1.5h, got 'soon'"),
        (["water.xyz", "--seed", "99999999999"], "seed: expected an integer from 0 to 2^32 - 1"),
        (["water.xyz", "--seed", "3", "seed=4"], "seed was given twice"),
        (["water.xyz", "data=other.xyz"], "data was given twice"),
        (["water.xyz", "batch_size=3", "batch_size=4"], "batch_size was given before"),
        (["water.xyz", "targets=forces", "read.targets=energy"], "read.targets was given before"),
        (["water.xyz", "weight=3", "weight.forces=3"], "weight was given a value before"),
        (["water.xyz", "preset=md17"], "preset=md17: expected it as an option, --preset md17"),
        (["water.xyz", "batchsize=3"], "there is no setting 'batchsize'; did you mean batch_size?"),
        (["water.xyz", "batch_size=two"], "batch_size: expected an integer >= 1, got 'two'"),
        (["water.xyz", "batch_size=[1,2"], "batch_size: expected a value, got"),
        (["water.xyz", "epochs=null"], "expected at least one end of the run"),
        (["water.xyz", "learning_rate=fast"], "learning_rate: expected a number > 0, got 'fast'"),
        (["water.xyz", "weight.force=3"], "weight: expected targets of this run (energy, forces), got force"),
        (["water.xyz", "weight.energy=0", "weight.forces=0"], "expected at least one above 0"),
        (["water.xyz", "loss.forces=l3"], "loss.forces: expected one of"),
        (["water.xyz", "precision=fp16"], "precision: expected one of"),
        (["water.xyz", "loggers=tensorbord"], "loggers: expected some of"),
        (["water.xyz", "compare=nonsense"], "compare: no published results are known of 'nonsense'"),
        (["water.xyz", "valid=3"], "valid: expected a file or a built-in data set, by name, got 3"),
        (["water.xyz", "test=3"], "test: expected files or built-in data sets, by name, got 3"),
        (["water.xyz", "network=qm8"], "there is no preset 'qm8', .*did you mean qm9?"),
        (["water.xyz", "model.num_layer=2"], "has no setting 'num_layer'; did you mean num_layers?"),
        (["water.xyz", "model.num_layers=two"], "model.num_layers: expected a whole number, got 'two'"),
        (["water.xyz", "model.cutoff=5A"], "model.cutoff: expected a number, got '5A'"),
        (["water.xyz", "model.cutoff=0.1"], "no two atoms of the training set are within 0.1 Å of each other"),
        (["water.xyz", "model.elements=1,8"], "model.elements: expected a list of whole numbers"),
        (["water.xyz", "model.elements=[1,6]"], "does not know the elements Z = [8] of the training set"),
        (["water.xyz", "model.irreps=wide"], "irreps must be irreps such as"),
        (["water.xyz", "model.output=node_vector"], "model.output: expected targets"),
        (["water.xyz", "max_edges=3"], "max_edges: expected at least the 6 edges of structure"),
        (["water.xyz", "valid_fraction=11"], "none would be left; give --valid and --test, or more structures"),
        (["water.xyz", "train_size=400"], "train_size: expected at most the 9 structures left, got 400"),
        (["water.xyz", "targets=gap"], "water.xyz, frame 0: expected gap, found only ['energy', 'forces']"),
        (["water.xyz", "targets=energy,energy"], "targets: expected each name once"),
        (["water.xyz", "names.enrgy=E"], "names: 'enrgy' is not among the targets"),
        (["water.xyz", "units.energy=parsec"], "unknown energy unit 'parsec', expected one of"),
        (["water.xyz", "units.gap=eV"], "units: 'gap' is neither length nor energy nor among the targets"),
        (["water.xyz", "bad_frames=skp"], "bad_frames: expected one of ('error', 'skip'), got 'skp'"),
        (["water.xyz", "read.bad_frame=skip"], "did you mean 'bad_frames'?"),
        (["water.xyz", "--test", "water.xyz", "test_fraction=2"], "the test set is that of water.xyz"),
        (["water.xyz", "--test", "water.xyz", "--test", "full/water.xyz"], "got 'water' twice"),
        (["water.xyz", "--test", "sulphur.xyz"], "atomic numbers [16]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_gives_one_line_that_names_the_fix(words, message):
    write_waters("water.xyz")
    Path("full").mkdir()
    write_waters("full/water.xyz", start=20)
    Path("sulphur.xyz").write_text(water(0).replace("O 0", "S 0"))
    before = listing()
    # Dots and stars of a message stand for any text, all else for itself.
    pattern = ".*".join(map(re.escape, message.split(".*")))
    assert re.search(pattern, error := one_red_line(dry(*words))), error
    assert listing() == before


@pytest.mark.parametrize(
    ("change", "message", "skip", "told"),
    [
        (
            only(4, lambda text: text.replace("H 0 0.76 -0.48 0", "H 0 0.76 -0.48 nan")),
            "frame 4: forces are not all finite numbers: .* (bad_frames=skip leaves such frames out)",
            "bad_frames=skip",
            "1 of 12 frames left out: 1 with numbers that are not finite (frame 4)",
        ),
        (
            only(4, lambda text: text.replace("H 0 0.76", "H 0 inf")),
            "frame 4: positions are not all finite",
            "bad_frames=skip",
            "1 with numbers that are not finite (frame 4)",
        ),
        (
            only(4, no_energy),
            "frame 4: expected energy, found only ['forces'] (missing_labels=skip leaves such frames out",
            "missing_labels=skip",
            "1 of 12 frames left out: 1 no energy (frame 4)",
        ),
        (
            only(4, no_energy),
            "missing_labels=mask reads them without",
            "missing_labels=mask",
            "1 of 12 frames have no energy (frame 4): filled with NaN",
        ),
        (
            only(4, lambda text: text.replace("O 0", "Xx 0")),
            "frame 4: .*unknown element 'Xx'",
            "bad_frames=skip",
            "1 with unknown elements (frame 4)",
        ),
        (
            only(4, lambda text: "\n".join(text.splitlines()[:4]) + "\n"),
            "frame 4: expected 3 atoms, but the frame ends after 2",
            "bad_frames=skip",
            "1 of 12 frames left out",
        ),
        (
            only(11, lambda text: "\n".join(text.splitlines()[:4]) + "\n"),
            "frame 11: expected 3 atoms, but the file ends after 2",
            "bad_frames=skip",
            "1 of 12 frames left out",
        ),
        (
            only(4, lambda text: text.replace("H 0 0.76 -0.48 0 0 -0.1", "H 0 0.76 -0.48 0")),
            "frame 4: .*expected 7 columns, got 5 for atom 1",
            "bad_frames=skip",
            "1 of 12 frames left out",
        ),
        (
            only(4, lambda text: text.replace("H 0 0.76", "H 0 far")),
            "frame 4: not valid extended XYZ",
            "bad_frames=skip",
            "1 of 12 frames left out",
        ),
        (
            only(4, lambda _: water(4).replace("energy=-2000.04", "energy=-1999") + water(4)),
            "frame 5: the same structure as water.xyz, frame 4, but with other energy",
            "duplicates=keep",
            "9 structures to train, 1 to validate, 3 to test",
        ),
    ],
    ids=[
        "NaN forces",
        "infinity",
        "no energy",
        "no energy masked",
        "element",
        "cut",
        "cut end",
        "columns",
        "text",
        "two",
    ],
)
def test_a_bad_frame_is_named_and_left_out_or_kept_only_when_asked(change, message, skip, told):
    write_waters("water.xyz", change=change)
    pattern = ".*".join(map(re.escape, message.split(".*")))
    assert re.search(pattern, error := one_red_line(dry("water.xyz"))), error
    assert told in fine(dry("water.xyz", skip))


def test_a_bad_frame_that_is_found_while_training_from_disk_gives_one_line_and_no_folder():
    write_waters("water.xyz", change=only(4, lambda text: text.replace("H 0 0.76 -0.48 0", "H 0 0.76 -0.48 nan")))
    words = ["water.xyz", "in_memory=false", "duplicates=keep", "--valid", "v.xyz", "--test", "v.xyz", *TINY]
    write_waters("v.xyz", 2, start=20)
    assert "water.xyz, frame 4: forces are not all finite" in one_red_line(call("train", *words, "--out", "run"))
    assert not Path("run").exists()


def test_repeated_frames_are_left_out_and_counted():
    write_waters("water.xyz", change=lambda i, text: water(i % 9))
    assert "3 of 12 frames left out: 3 that repeat an earlier one exactly (frames 9, 10, 11)" in fine(dry("water.xyz"))
    assert "the same structure as water.xyz, frame 0" in one_red_line(dry("water.xyz", "duplicates=error"))
    assert "water: 9 structures to train" in fine(dry("water.xyz", "duplicates=keep"))


def test_energies_of_mixed_units_are_refused_unless_every_frame_states_its_own():
    def half(change):
        return lambda i, text: change(text) if i >= 6 else text

    write_waters("water.xyz", change=half(in_hartree))
    error = one_red_line(dry("water.xyz"))
    assert "energies of mixed units" in error
    assert "as between hartree and eV; convert them, or state energy_unit in each frame" in error
    write_waters("water.xyz", change=half(lambda text: stating("Ha")(in_hartree(text))))
    assert "state energy in Ha" in one_red_line(dry("water.xyz"))
    write_waters("water.xyz", change=lambda i, text: stating("Ha")(in_hartree(text)) if i >= 6 else stating("eV")(text))
    text = fine(dry("water.xyz"))
    assert "all were converted: 6 in eV (frames 0, 1, 2, 3, 4, …), 6 in Ha" in text


def test_one_frame_is_not_enough_but_with_other_sets():
    write_waters("one.xyz", 1)
    write_waters("two.xyz", 2, start=20)
    assert "cannot set 1 + 1 of 1 structures apart: none would be left; give --valid and --test" in one_red_line(
        dry("one.xyz")
    )
    assert "one: 1 structures to train" in fine(dry("one.xyz", "--valid", "two.xyz", "--test", "two.xyz"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.xyz", b"", "the file has no frames"),
        ("blank.xyz", b"\n\n", "the file has no frames"),
        ("binary.xyz", bytes(range(256)) * 9, "expected the number of atoms"),
        ("text.xyz.xz", b"hello", "expected extended XYZ as .xz compressed text"),
        ("cut.xyz.xz", lzma.compress(water(0).encode() * 99)[:60], "Compressed file ended before the end"),
        ("empty.db", b"", "expected an ASE database (SQLite)"),
        ("text.db", b"hello", "expected an ASE database (SQLite)"),
        ("empty.npz", b"", "expected a NumPy archive (.npz)"),
        ("text.npz", b"hello", "expected a NumPy archive (.npz)"),
        ("table.csv", b"a,b\n1,2\n", "expected a column 'file' in the header, got ['a', 'b']"),
        ("table.csv", b"file;gap\nw.xyz;2\n", "separate columns by commas"),
        ("notes.txt", b"hello", "expected a structure file that ASE reads"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_gives_one_line(name, content, message):
    Path(name).write_bytes(content)
    error = one_red_line(dry(name))
    assert name in error
    assert message in error


def test_folders_and_their_tables_give_one_line():
    Path("empty").mkdir()
    assert "empty: the folder has no structure files" in one_red_line(dry("empty"))
    Path("folder").mkdir()
    for index in range(4):
        write_waters(f"folder/w{index}.xyz", 1, change=with_label(lambda i: f"name=w{i}"), start=index)
    for row, message in (
        ("nope.xyz,3 eV", "labels.csv, line 6 (frame 4, nope.xyz): there is no file folder/nope.xyz"),
        ("w3.xyz,hot", "expected gap as a number, got 'hot'"),
        ("w3.xyz", "expected 2 cells as in the header, got 1"),
        ("w3.xyz,3 Ha", "mixed units in the column gap"),
    ):
        rows = [f"w{index}.xyz,{index} eV" for index in range(3 if row.startswith("w3") else 4)]
        Path("folder/labels.csv").write_text("\n".join(["file,gap", *rows, row, ""]))
        assert message in one_red_line(dry("folder", "targets=gap"))


def test_arrays_that_do_not_fit_together_give_one_line():
    pos, z = np.zeros((4, 3, 3)), np.array([8, 1, 1])
    for arrays, message in (
        ({"a": z}, "expected R and z (sGDML) or coords and nuclear_charges (revised MD17), found ['a']"),
        ({"R": pos, "z": z, "E": np.ones(3), "F": pos}, "expected 4 frames in E"),
        ({"R": pos, "z": z[:2], "E": np.ones(4), "F": pos}, "expected R [F, n, 3] and z [n]"),
        ({"R": pos, "z": z}, "found neither energy nor forces nor stress"),
    ):
        np.savez("a.npz", **arrays)
        assert message in one_red_line(dry("a.npz"))


def test_a_place_that_cannot_be_written_to_gives_one_line():
    write_waters("water.xyz")
    Path("file").touch()
    error = one_red_line(call("train", "water.xyz", *TINY, "--epochs", "1", "--out", "file/run"))
    assert "file/run: not a directory (a part of the path is a file, expected a folder)" in error
    Path("runs").touch()
    assert "runs" in one_red_line(call("train", "water.xyz", *TINY, "--epochs", "1"))


def test_a_training_that_diverges_gives_one_line_with_the_settings_to_change():
    words = ["learning_rate=1e6", "gradient_clip=null", "--epochs", "40", "--out", "run"]
    error = one_red_line(call("train", write_waters("water.xyz"), *TINY, *words))
    assert "the errors are no longer finite at step" in error
    assert "expected a smaller learning_rate (now 1000000.0) or gradient_clip (now None)" in error
