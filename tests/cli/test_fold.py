import json
from pathlib import Path

import pytest

from tests.data.protein_texts import atom, chain, pdb, residue

from .command import call, fine, one_red_line

pytest.importorskip("biotite")


@pytest.fixture
def clashing():
    """A water-thin chain of two glycines, and a second chain right on top of the first."""
    lines = pdb(residue("GLY", 1), residue("GLY", 2), residue("GLY", 1, chain="B"))
    Path("two.pdb").write_text(lines)
    return "two.pdb"


def test_violations_of_all_chains_are_shown_and_written(clashing):
    text = fine(call("fold", "check", clashing, "--json", "o.json", "--figure", "o.png", COLUMNS="120"))
    (told,) = json.loads(Path("o.json").read_text()).values()
    assert told["residues"] == 3
    assert told["terms"] == {"bonds": 9, "angles": 6, "peptide_bonds": 1, "peptide_angles": 2}
    # The made-up peptide link is 1.2 Å long, more than is tolerated for 0.014 Å but not for twelve times that.
    assert told["violations"]["peptide_bonds"] == 0
    assert told["violations"]["clashes"] > 0
    assert {row["residue"] for row in told["by_residue"] if "clashes" in row} >= {"A 1 GLY", "B 1 GLY"}
    counts = [str(told["violations"][k]) for k in ("bonds", "angles", "peptide_bonds", "peptide_angles", "clashes")]
    row = next(line for line in text.splitlines() if line.startswith("│ two"))
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == ["two", "3", *counts, "3"]
    assert "clashes: CA-CA of A 1 GLY and B 1 GLY: 1.900 Å too far off" in text
    assert Path("o.png").read_bytes()[:4] == b"\x89PNG"


def test_a_stricter_tolerance_finds_more(clashing):
    def count(*words):
        fine(call("fold", "check", clashing, "--json", "o.json", *words))
        return next(iter(json.loads(Path("o.json").read_text()).values()))["violations"]["peptide_bonds"]

    assert (count(), count("--tolerance", "5")) == (0, 1)


def test_several_structures_are_rows_of_one_table():
    for name in "ab":
        Path(f"{name}.pdb").write_text(chain("GAG"))
    text = fine(call("fold", "check", "a.pdb", "b.pdb", COLUMNS="120"))
    assert [line.split()[1] for line in text.splitlines() if line.startswith(("│ a", "│ b"))] == ["a", "b"]
    assert "--figure draws one structure, got 2" in one_red_line(
        call("fold", "check", "a.pdb", "b.pdb", "--figure", "o.png")
    )


def test_structures_of_one_name_in_two_folders_are_both_told():
    for folder in "xy":
        Path(folder).mkdir()
        Path(folder, "a.pdb").write_text(chain("GAG" if folder == "x" else "GA"))
    fine(call("fold", "check", "x", "y", "--json", "o.json"))
    told = json.loads(Path("o.json").read_text())
    assert sorted(entry["residues"] for entry in told.values()) == [2, 3]
    assert all(name.endswith("a.pdb:a") for name in told)


def test_what_is_left_out_is_counted_and_wrong_files_are_named():
    Path("a.pdb").write_text(pdb(residue("GLY", 1), [atom("O", "HOH", 5, record="HETATM")]))
    assert "1 " in fine(call("fold", "check", "a.pdb")).splitlines()[0]
    Path("b.pdb").write_text("nothing\n")
    assert "b.pdb" in one_red_line(call("fold", "check", "b.pdb"))
    assert "tolerance must be positive, got -1.0" in one_red_line(call("fold", "check", "a.pdb", "--tolerance", "-1"))


def test_the_group_alone_shows_its_commands():
    assert fine(call("fold")).strip() == fine(call("fold", "--help")).strip()
    assert "check" in fine(call("fold"))
