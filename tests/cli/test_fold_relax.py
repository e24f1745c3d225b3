import sys
from pathlib import Path

import pytest

from .command import call, fine, one_red_line
from .test_fold_train import EVERY, heavy, trained

pytest.importorskip("biotite")
pytest.importorskip("openmm")


@pytest.fixture
def torn():
    """Two chains with a link that is too long in each, as a file."""
    from pyg_equiformer.data.protein_writer import write_chains
    from tests.folding.test_relax import strand

    write_chains("torn.pdb", [strand("AAG", "H", torn=0.4), strand("GA", "L", (0.0, 0.0, 9.0), torn=0.4)])
    return "torn.pdb"


def test_a_file_is_relaxed_with_its_chains_and_names(torn):
    text = fine(call("fold", "relax", torn, "-o", "new/mended.pdb", "--solvent", "none", "--threads", "1"))
    assert "violations 3 → 0 (peptide bonds 3 → 0); heavy atoms moved by 0." in text
    assert "→ new/mended.pdb" in text
    old, new = (
        [line for line in Path(p).read_text().splitlines() if line.startswith("ATOM")] for p in (torn, "new/mended.pdb")
    )
    assert [line[:27] for line in old] == [line[:27] for line in new]
    checked = fine(call("fold", "check", "new/mended.pdb"))
    assert "too far off" not in checked
    assert "too far off" in fine(call("fold", "check", torn))


def test_links_that_are_read_as_breaks_are_joined_where_that_is_asked_for():
    from pyg_equiformer.data import read_protein_chains
    from pyg_equiformer.data.protein_writer import write_chains
    from tests.folding.test_relax import strand

    write_chains("wide.pdb", [strand("AAAA", torn=0.9)])
    # Four residues that stand alone.
    assert "these stand alone: A 1 ALA, A 2 ALA" in one_red_line(call("fold", "relax", "wide.pdb", "-o", "o.pdb"))
    words = ("--solvent", "none", "--threads", "1", "--join")
    assert "(peptide bonds 3 → 0)" in fine(call("fold", "relax", "wide.pdb", "-o", "o.pdb", *words))
    (chain,) = read_protein_chains("o.pdb", atoms="heavy").chains
    assert chain.seq_pos.unique().tolist() == [0, 1, 2, 3]


def test_wrong_words_are_told_before_anything_is_done(torn):
    assert "expected a name that ends in .pdb or .cif" in one_red_line(call("fold", "relax", torn, "-o", "out"))
    assert "torn.pdb exists already" in one_red_line(call("fold", "relax", torn, "-o", torn))
    assert "solvent must be one of obc, none" in one_red_line(
        call("fold", "relax", torn, "-o", "o.pdb", "--solvent", "water")
    )
    assert "stiffness must be" in one_red_line(call("fold", "relax", torn, "-o", "o.pdb", "--stiffness", "-1"))
    assert not Path("o.pdb").exists()


def test_without_openmm_nothing_is_predicted_or_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    for words in (("predict", "no_run", "none.fasta", "-o", "out", "--relax"), ("relax", "none.pdb", "-o", "o.pdb")):
        assert 'pip install "pyg_equiformer[relax]"' in one_red_line(call("fold", *words), 1)
    assert not Path("out").exists()


def test_predictions_are_written_relaxed_beside_as_they_are(monkeypatch):
    pytest.importorskip("lightning")
    from pyg_equiformer import folding
    from pyg_equiformer.folding import relax

    Path("every.pdb").write_text(heavy(EVERY))
    trained("every.pdb")
    Path("two.fasta").write_text(">first\nAGA\n>second\nG\n")
    seen = []

    def quickly(chains):
        seen.append([chain.sequence for chain in chains])
        return relax(chains, solvent="none", threads=1, max_rounds=1)

    monkeypatch.setattr(folding, "relax", quickly)
    result = call("fold", "predict", "run", "two.fasta", "-o", "out", "--relax", COLUMNS="300")
    assert seen == [["AGA"], ["G"]]
    assert "1 of 2 structures could not be relaxed, see above" in one_red_line(result)
    assert "second: not relaxed: expected residues that are bonded to a neighbour, these stand alone: A 1 GLY" in (
        result.output
    )
    assert "first: violations " in result.output
    assert sorted(p.name for p in Path("out").iterdir()) == ["first.pdb", "first_relaxed.pdb", "second.pdb"]
    plain, relaxed = (
        [line for line in Path("out", name).read_text().splitlines() if line.startswith("ATOM")]
        for name in ("first.pdb", "first_relaxed.pdb")
    )
    assert [line[:27] + line[54:] for line in plain] == [line[:27] + line[54:] for line in relaxed]  # B-factors too
    assert plain != relaxed
    Path("twice.fasta").write_text(">a\nAG\n>a_relaxed\nAG\n")
    assert "a_relaxed.pdb would be written twice" in one_red_line(
        call("fold", "predict", "run", "twice.fasta", "-o", "new", "--relax")
    )
