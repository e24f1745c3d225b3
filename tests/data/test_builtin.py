import pickle
import re
import sys

import numpy as np
import pytest
import torch
from torch_geometric.datasets import QM9
from torch_geometric.loader import DataLoader

from pyg_equiformer.data import QM9_TARGETS, is_builtin, open_builtin
from pyg_equiformer.data.structure_sets import ENERGY, FORCES, Target
from pyg_equiformer.units import HARTREE, KCAL_PER_MOL

from .raw_files import (
    FREE_ATOMS,
    LITERATURE,
    molecules,
    trajectory,
    write_ccsd,
    write_md17,
    write_qm9,
    write_rmd17,
)

pytest.importorskip("rdkit")

PUBLISHED = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u", "h", "g", "cv")
TOTALS = ("u0", "u", "h", "g")


@pytest.fixture(scope="module")
def qm9_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("qm9")
    write_qm9(root, molecules(24), uncharacterized=[5, 11])
    return root


@pytest.fixture(scope="module")
def frames():
    ethanol = molecules(12)[10]
    return trajectory(ethanol.z, ethanol.pos, 80)


def everything(structures):
    return [*structures.train, *structures.valid, *structures.test]


def benzene_and_methane(structures, target):
    """The label of the two molecules, which no other molecule's atoms are those of."""
    found = {tuple(sorted(d.z.tolist())): d[target].item() for d in everything(structures)}
    return {"methane": found[(1, 1, 1, 1, 6)], "benzene": found[(1,) * 6 + (6,) * 6]}


@pytest.mark.parametrize("target", PUBLISHED)
def test_labels_of_methane_and_benzene_are_those_of_the_literature_in_published_units(qm9_root, target):
    # A, B, C, then the order of the published file, where Cv comes last.
    values = {name: dict(zip(PUBLISHED, row[3:])) for name, row in LITERATURE.items()}
    atoms = {"methane": (1, 4), "benzene": (6, 6)}
    found = benzene_and_methane(open_builtin(f"qm9:{target}", qm9_root), target)
    for name, label in found.items():
        expected = values[name][target]
        if target in TOTALS:
            carbon, hydrogen = (FREE_ATOMS[z][TOTALS.index(target)] for z in (6, 1))
            expected -= atoms[name][0] * carbon + atoms[name][1] * hydrogen
        if QM9_TARGETS[target].unit == "eV":
            expected *= HARTREE
        # PyG's energies of the free atoms are in an older hartree: 8 μeV per carbon.
        assert label == pytest.approx(expected, rel=1e-12, abs=6e-5 if target in TOTALS else 1e-12)


def test_labels_agree_with_known_sizes_of_the_properties_of_benzene(qm9_root):
    # Independent of the label file: measured or textbook values, to the accuracy of B3LYP.
    def benzene(target):
        return benzene_and_methane(open_builtin(f"qm9:{target}", qm9_root), target)["benzene"]

    assert benzene("u0") == pytest.approx(-1304.9 * KCAL_PER_MOL, rel=0.01)  # atomisation energy at 0 K
    assert benzene("zpve") == pytest.approx(2.71, rel=0.02)  # eV
    assert benzene("cv") == pytest.approx(17.7, rel=0.05)  # cal/(mol K)
    assert benzene("h") - benzene("u") == pytest.approx(-11 * 8.617333e-5 * 298.15, rel=1e-3)  # Δn k T of 12 atoms
    assert benzene("gap") == pytest.approx(benzene("lumo") - benzene("homo"), abs=0.01)


def test_atomisation_columns_equal_totals_minus_free_atoms_and_the_published_row(qm9_root):
    kcal = {"u0": -395.999594594, "u": -398.643290011, "h": -401.014646522, "g": -372.471772148}  # methane
    for target in TOTALS:
        total = benzene_and_methane(open_builtin(f"qm9:{target}", qm9_root), target)
        atomisation = benzene_and_methane(open_builtin(f"qm9:{target}_atom", qm9_root), f"{target}_atom")
        assert total == pytest.approx(atomisation, abs=6e-5)
        # kcal/mol of the file are hartree times 627.509, with 0.01 meV between that factor and the exact one.
        assert atomisation["methane"] == pytest.approx(kcal[target] * KCAL_PER_MOL, abs=5e-5)


def test_all_columns_agree_with_those_of_pyg_in_float32(qm9_root):
    stored = QM9(str(qm9_root / "QM9"))
    assert len(QM9_TARGETS) == stored.y.shape[1] == 19
    for target, (column, *_) in QM9_TARGETS.items():
        structures = open_builtin(f"qm9:{target}", qm9_root)
        labels = torch.cat([d[target] for d in everything(structures)]).sort().values
        expected = stored.y[:, column].double()
        if target in TOTALS:
            expected = stored.y[:, column + 5].double()
        torch.testing.assert_close(labels, expected.sort().values, rtol=2e-6, atol=1e-4)


def test_structures_carry_elements_positions_and_the_label_only(qm9_root):
    structures = open_builtin("QM9:Gap", qm9_root)
    assert structures.name == "qm9:gap"
    assert structures.targets == (Target("gap", "graph_scalar", "eV"),)
    data = structures.train[0]
    assert set(data.keys()) == {"z", "pos", "gap"}
    assert data.z.dtype == torch.int64
    assert (data.pos.dtype, data.gap.dtype, data.gap.shape) == (torch.float32, torch.float64, (1,))
    batch = next(iter(DataLoader(structures.train, batch_size=4)))
    assert batch.gap.shape == (4,)
    assert batch.num_graphs == 4


def test_labels_and_positions_stay_together_in_every_set(qm9_root):
    found = molecules(24)
    by_shape = {m.pos.astype(np.float32).tobytes(): m.row()[4] for m in found}
    structures = everything(open_builtin("qm9:alpha", qm9_root))
    assert len(structures) == 22  # PyG leaves out the two uncharacterized ones
    for data in structures:
        assert data.alpha.item() == by_shape[data.pos.numpy().tobytes()]


def test_the_split_is_the_published_permutation_in_published_proportions(qm9_root):
    structures = open_builtin("qm9:mu", qm9_root)
    stored = QM9(str(qm9_root / "QM9"))
    order = np.random.default_rng(1).permutation(22)
    assert [len(s) for s in (structures.train, structures.valid, structures.test)] == [18, 2, 2]
    for data, i in zip(everything(structures), order):
        assert torch.equal(data.pos, stored[int(i)].pos)
    assert "only 22 structures" in structures.notes[-1]
    other = everything(open_builtin("qm9:mu", qm9_root, split_seed=2))
    assert not all(
        torch.equal(a.pos, b.pos) for a, b in zip(everything(structures), other) if a.pos.shape == b.pos.shape
    )


def test_sequences_slice_pickle_and_hand_out_copies(qm9_root):
    train = open_builtin("qm9:gap", qm9_root).train
    assert torch.equal(train[-1].pos, train[len(train) - 1].pos)
    assert [d.gap.item() for d in train[2:4]] == [train[2].gap.item(), train[3].gap.item()]
    with pytest.raises(IndexError):
        train[len(train)]
    before = train[0].pos.clone()
    train[0].pos.add_(1)
    assert torch.equal(train[0].pos, before)
    assert torch.equal(pickle.loads(pickle.dumps(train))[1].pos, train[1].pos)


def test_without_the_label_file_totals_are_right_to_a_tenth_of_a_mev(qm9_root, tmp_path, monkeypatch):
    precise = everything(open_builtin("qm9:u0", qm9_root))
    fields = ("z", "pos", "y", "x", "edge_index", "edge_attr", "name", "idx")
    raw = tmp_path / "QM9" / "raw"
    raw.mkdir(parents=True)
    torch.save([{k: data[k] for k in fields} for data in QM9(str(qm9_root / "QM9"))], raw / "qm9_v3.pt")
    monkeypatch.setitem(sys.modules, "rdkit", None)
    structures = open_builtin("qm9:u0", tmp_path)
    assert "u0_atom" in structures.notes[0]
    for a, b in zip(everything(structures), precise):
        assert a.u0.item() == pytest.approx(b.u0.item(), abs=1e-4)


def test_a_label_file_that_was_exchanged_is_refused(tmp_path):
    found = molecules(5)
    raw = write_qm9(tmp_path, found)
    open_builtin("qm9:gap", tmp_path)
    text = (raw / "gdb9.sdf.csv").read_text()
    (raw / "gdb9.sdf.csv").write_text(text.replace("0.5048", "0.5049"))
    with pytest.raises(ValueError, match="other values than the processed files"):
        open_builtin("qm9:gap", tmp_path)


def check_frames(structures, frames):
    """Each frame is one of the raw ones, with its energy in float64 and its forces."""
    rows = {r.astype(np.float32).tobytes(): i for i, r in enumerate(frames["R"])}
    for data in everything(structures):
        i = rows[data.pos.numpy().tobytes()]
        assert set(data.keys()) == {"z", "pos", "energy", "forces"}
        assert data.energy.dtype == torch.float64
        assert data.energy.item() == pytest.approx(frames["E"][i] * KCAL_PER_MOL, rel=1e-14)
        np.testing.assert_allclose(data.forces, frames["F"][i] * KCAL_PER_MOL, rtol=1e-6, atol=1e-6)
    assert structures.targets == (ENERGY, FORCES)


def test_md17_keeps_the_digits_of_its_energies_and_converts_both_labels(tmp_path, frames):
    write_md17(tmp_path, "ethanol", frames)
    structures = open_builtin("md17:ethanol", tmp_path)
    check_frames(structures, frames)
    assert structures.name == "md17:ethanol"
    assert [len(s) for s in (structures.train, structures.valid, structures.test)] == [38, 2, 40]
    assert "only 80 structures" in structures.notes[-1]


def test_md17_takes_950_and_50_frames_of_the_published_permutation_and_tests_on_all_others(tmp_path, frames):
    many = {k: v if k == "z" else np.concatenate([v] * 13)[:1010] for k, v in frames.items()}
    many["R"] = many["R"] + np.arange(1010)[:, None, None]
    write_md17(tmp_path, "ethanol", many)
    structures = open_builtin("md17:ethanol", tmp_path)
    assert [len(s) for s in (structures.train, structures.valid, structures.test)] == [950, 50, 10]
    order = np.random.default_rng(1).permutation(1010)
    found = torch.stack([d.pos[0] for d in everything(structures)])
    torch.testing.assert_close(found, torch.from_numpy(many["R"][order, 0]).float())
    assert structures.notes[-1] == "split 950 / 50 / rest (training, validation, test) at random, seed 1"


def test_rmd17_uses_the_official_split_that_is_asked_for(tmp_path, frames):
    write_rmd17(tmp_path, "ethanol", frames, {1: (range(40), range(40, 80)), 3: (range(60), range(70, 80))})
    first, third = open_builtin("rmd17:ethanol", tmp_path), open_builtin("rmd17:ethanol", tmp_path, split=3)
    check_frames(first, frames)
    assert [len(s) for s in (first.train, first.valid, first.test)] == [38, 2, 40]
    assert [len(s) for s in (third.train, third.valid, third.test)] == [57, 3, 10]
    assert third.notes[-1] == "official split 3: 57 / 3 / 10 (training, validation, test), seed 1"
    for data, i in zip(third.test, range(70, 80)):
        np.testing.assert_array_equal(data.pos, frames["R"][i].astype(np.float32))
    held = {d.pos.numpy().tobytes() for d in first.valid} & {d.pos.numpy().tobytes() for d in first.train}
    assert not held


def test_rmd17_without_split_files_is_split_at_random_and_says_so(tmp_path, frames):
    write_rmd17(tmp_path, "salicylic acid", frames, None)
    structures = open_builtin("rmd17:salicylic", tmp_path)
    assert structures.name == "rmd17:salicylic_acid"
    assert "official split 1 is not there (index_train_01.csv" in structures.notes[-1]
    assert [len(s) for s in (structures.train, structures.valid, structures.test)] == [38, 2, 40]


def test_a_split_file_of_another_trajectory_is_refused(tmp_path, frames):
    write_rmd17(tmp_path, "ethanol", frames, {1: (range(40), range(40, 81))})
    with pytest.raises(ValueError, match=re.escape("index_test_01.csv: expected frame numbers from 0 to 79")):
        open_builtin("rmd17:ethanol", tmp_path)


def test_ccsd_uses_its_predefined_sets(tmp_path, frames):
    train = {k: v if k == "z" else v[:60] for k, v in frames.items()}
    test = {k: v if k == "z" else v[60:] for k, v in frames.items()}
    write_ccsd(tmp_path, "ethanol CCSD(T)", train, test)
    structures = open_builtin("ccsd:ethanol", tmp_path)
    check_frames(structures, frames)
    assert [len(s) for s in (structures.train, structures.valid, structures.test)] == [57, 3, 20]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("qm9:bandgap", "did you mean qm9:gap"),
        ("md17:asprin", "did you mean md17:aspirin"),
        ("ccsd:uracil", "There are ccsd:benzene, ccsd:aspirin"),
        ("qm9", "There are qm9:mu"),
        ("qm7:gap", "built-in ones start with qm9:"),
    ],
)
def test_unknown_names_list_what_there_is_and_the_nearest(tmp_path, spec, message):
    with pytest.raises(ValueError, match=message):
        open_builtin(spec, tmp_path)


def test_bad_splits_are_refused(tmp_path):
    with pytest.raises(ValueError, match="splits 1 to 5"):
        open_builtin("rmd17:ethanol", tmp_path, split=6)
    with pytest.raises(ValueError, match="only revised MD17 has numbered splits"):
        open_builtin("qm9:gap", tmp_path, split=2)
    with pytest.raises(ValueError, match="split_seed"):
        open_builtin("qm9:gap", tmp_path, split_seed=-1)


def test_a_failed_download_names_the_files_and_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr("torch_geometric.datasets.MD17.gdml_url", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "MD17" / "toluene" / "raw" / "md17_toluene.npz"))):
        open_builtin("md17:toluene", tmp_path)


def test_a_broken_file_is_named_with_the_way_out(tmp_path, frames):
    path = write_md17(tmp_path, "toluene", frames)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"could not process .*md17_toluene.npz.*delete files that are broken"):
        open_builtin("md17:toluene", tmp_path)


def test_two_frames_are_too_few(tmp_path, frames):
    write_md17(tmp_path, "toluene", {k: v if k == "z" else v[:2] for k, v in frames.items()})
    with pytest.raises(ValueError, match="expected at least 3 structures"):
        open_builtin("md17:toluene", tmp_path)


def test_names_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(map(is_builtin, ("qm9:gap", "QM9:U0", "rmd17:nonsense", "md17")))
    (tmp_path / "md17").mkdir()
    assert not any(map(is_builtin, ("md17", "frames.xyz", "C:/data.xyz", "my_qm9:gap")))
