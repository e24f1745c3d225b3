import pytest
import torch

from pyg_equiformer.data import read_protein_chains
from pyg_equiformer.data.protein_atoms import LETTER_TO_NAME, RESIDUE_ATOMS
from pyg_equiformer.folding import structural_violations
from pyg_equiformer.folding.geometry import geometry
from pyg_equiformer.folding.groups import MAX_RESIDUE_ATOMS
from pyg_equiformer.folding.templates import residue_atoms
from pyg_equiformer.folding.violations import KINDS

from ..shared_data import DATA
from . import samples

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

#: Two alanines of an extended strand, from bond lengths, angles and torsions of 180°.
PEPTIDE = {
    (0, "N"): (-0.525, 1.363, 0.0),
    (0, "CA"): (0.0, 0.0, 0.0),
    (0, "C"): (1.526, 0.0, 0.0),
    (0, "O"): (2.153, -1.062, 0.0),
    (0, "CB"): (-0.529, -0.774, -1.205),
    (1, "N"): (2.121, 1.188, 0.0),
    (1, "CA"): (3.579, 1.188, 0.0),
    (1, "C"): (4.105, 2.62, 0.0),
    (1, "O"): (3.335, 3.582, 0.0),
    (1, "CB"): (4.108, 0.414, 1.205),
}


def dipeptide(letters="AA", **places):
    pos = torch.zeros(len(letters), MAX_RESIDUE_ATOMS, 3, dtype=torch.float64)
    there = torch.zeros(len(letters), MAX_RESIDUE_ATOMS, dtype=torch.bool)
    for (k, atom), place in PEPTIDE.items():
        slot = RESIDUE_ATOMS[letters[k]].index(atom)
        pos[k, slot], there[k, slot] = torch.tensor(place, dtype=torch.float64), True
    return pos, there, letters


def test_a_clean_peptide_breaks_no_rule_and_has_all_terms():
    found = structural_violations(*dipeptide())
    assert set(found.count().values()) == {0}
    assert float(found.loss) == 0.0
    assert {k: len(t.excess) for k, t in found.terms.items()} == {
        "bonds": 8, "angles": 8, "peptide_bonds": 1, "peptide_angles": 2, "clashes": 0,
    }  # fmt: skip


def test_a_stretched_bond_counts_by_what_it_exceeds():
    pos, there, letters = dipeptide()
    pos[0, RESIDUE_ATOMS["A"].index("O")] += torch.tensor([0.627, -1.062, 0.0]).double()  # along the bond
    found = structural_violations(pos, there, letters)
    assert found.count()["bonds"] == 1
    (wrong,) = (found.terms["bonds"].excess > 0).nonzero().flatten().tolist()
    terms = found.terms["bonds"]
    assert (terms.labels[wrong], terms.residues[wrong].tolist()) == ("C-O", [0, 0])
    mean, std = next(row[2:] for row in geometry()["A"]["bonds"] if row[:2] == ["C", "O"])
    wanted = abs(float(terms.values[wrong]) - mean) - 12 * max(std, 0.015)
    assert float(terms.excess[wrong]) == pytest.approx(wanted)
    assert found.per_residue()["bonds"].tolist() == [1, 0]
    assert float(found.loss) == pytest.approx(wanted / 8)


def test_broken_links_count_between_residues_that_follow_each_other_only():
    pos, there, letters = dipeptide()
    pos[1] += torch.tensor([1.0, 1.0, 0.0]).double()
    found = structural_violations(pos, there, letters)
    assert found.count()["peptide_bonds"] == 1
    assert found.per_residue()["peptide_bonds"].tolist() == [1, 1]
    apart = structural_violations(pos, there, letters, torch.tensor([0, 5]))
    assert len(apart.terms["peptide_bonds"].excess) == 0
    # Proline has another length: 1.34 Å where others have 1.33.
    proline = structural_violations(*dipeptide("AP"), tolerance=1e-6)
    alanine = structural_violations(*dipeptide("AA"), tolerance=1e-6)
    differ = proline.terms["peptide_bonds"].excess - alanine.terms["peptide_bonds"].excess
    assert float(differ) == pytest.approx(0.012, abs=1e-6)


def test_atoms_that_are_too_near_clash_and_bonded_ones_do_not():
    pos, there, letters = dipeptide()
    far = torch.tensor([0, 5])
    pos[1] += torch.tensor([-1.5, 0.0, 0.8]).double()
    found = structural_violations(pos, there, letters, far).terms["clashes"]
    flat = {(k, a): pos[k, RESIDUE_ATOMS["A"].index(a)] for k, a in PEPTIDE}
    radii = {"C": 1.7, "N": 1.55, "O": 1.52}
    slow = {
        f"{a}-{b}": radii[a[0]] + radii[b[0]] - 1.5 - float((flat[0, a] - flat[1, b]).norm())
        for a in RESIDUE_ATOMS["A"]
        for b in RESIDUE_ATOMS["A"]
    }
    slow = {pair: excess for pair, excess in slow.items() if excess > 0}
    assert slow
    assert {n: float(e) for n, e in zip(found.labels, found.excess) if e > 0} == pytest.approx(slow)
    bridge, exist = torch.full((2, MAX_RESIDUE_ATOMS, 3), 50.0), torch.zeros(2, MAX_RESIDUE_ATOMS, dtype=torch.bool)
    slot = RESIDUE_ATOMS["C"].index("SG")
    bridge[0, slot], bridge[1, slot] = torch.zeros(3), torch.tensor([2.03, 0.0, 0.0])
    exist[:, slot] = True
    assert structural_violations(bridge, exist, "CC", far).count()["clashes"] == 0


def slow_terms(pos, there, letters, seq_pos):
    """Label, residues, value and excess at a tolerance of one standard deviation, in loops over residues."""
    found = {"bonds": [], "angles": [], "peptide_bonds": [], "peptide_angles": []}

    def add(kind, atoms, mean, std):
        slots = [(k, RESIDUE_ATOMS[letters[k]].index(name)) for k, name in atoms]
        if all(there[slot] for slot in slots):
            x = [pos[slot] for slot in slots]
            u, v = x[0] - x[1], x[-1] - x[1]
            value = float(u.norm()) if len(x) == 2 else float(u @ v / u.norm() / v.norm())
            label, ends = "-".join(name for _, name in atoms), [atoms[0][0], atoms[-1][0]]
            found[kind].append((label, ends, value, max(abs(value - mean) - std, 0.0)))

    for k, letter in enumerate(letters):
        for kind, floor in (("bonds", 0.015), ("angles", 0.02)):
            for *names, mean, std in geometry()[letter][kind]:
                add(kind, [(k, name) for name in names], mean, max(std, floor))
    for k in range(len(letters) - 1):
        if seq_pos[k + 1] - seq_pos[k] == 1:
            length = (1.341, 0.016) if letters[k + 1] == "P" else (1.329, 0.014)
            add("peptide_bonds", [(k, "C"), (k + 1, "N")], *length)
            add("peptide_angles", [(k, "CA"), (k, "C"), (k + 1, "N")], -0.4473, 0.0311)
            add("peptide_angles", [(k, "C"), (k + 1, "N"), (k + 1, "CA")], -0.5203, 0.0353)
    return found


@pytest.mark.parametrize("device", DEVICES)
def test_terms_of_all_residues_at_once_are_those_of_loops_over_residues_and_atoms(device):
    letters = samples.LETTERS + "GPC"
    pos, there = residue_atoms(samples.chain(letters))
    there[torch.rand(there.shape, generator=torch.Generator().manual_seed(0)) < 0.1] = False
    seq_pos = torch.arange(len(there)) + 3 * (torch.arange(len(there)) > 7)
    found = structural_violations(pos.to(device), there.to(device), letters, seq_pos, tolerance=1.0)
    assert all(count.sum() > 0 for count in found.per_residue().values())
    for kind, wanted in slow_terms(pos, there, letters, seq_pos).items():
        labels, residues, values, excess = zip(*wanted)
        terms = found.terms[kind]
        assert terms.labels == labels
        assert terms.residues.tolist() == list(residues)
        assert terms.values.tolist() == pytest.approx(values)
        assert terms.excess.tolist() == pytest.approx(excess)


@pytest.mark.parametrize("letters", ["", "G", "W"])
def test_no_residue_and_a_single_one_have_no_links(letters):
    pos = torch.randn(len(letters), MAX_RESIDUE_ATOMS, 3)
    found = structural_violations(pos, torch.zeros(pos.shape[:2], dtype=torch.bool), letters)
    assert {kind: len(t.excess) for kind, t in found.terms.items()} == dict.fromkeys(KINDS, 0)
    assert float(found.loss) == 0.0


def test_the_loss_of_a_shaken_structure_has_the_gradient_of_differences():
    pos, there, letters = dipeptide()
    torch.manual_seed(0)
    pos = (pos + 0.4 * torch.randn_like(pos)).requires_grad_()
    assert float(structural_violations(pos, there, letters).loss.detach()) > 0
    assert torch.autograd.gradcheck(lambda p: structural_violations(p, there, letters).loss, pos, atol=1e-6)


def test_every_residue_has_as_many_bonds_as_the_dictionary_of_components():
    info = pytest.importorskip("biotite.structure.info")
    for letter, kinds in geometry().items():
        if letter != "X":
            residue = info.residue(LETTER_TO_NAME[letter])
            names = [str(n) for n in residue.atom_name]
            pairs = {frozenset((names[i], names[j])) for i, j, _ in residue.bonds.as_array()}
            wanted = {pair for pair in pairs if pair <= set(RESIDUE_ATOMS[letter])}
            assert {frozenset(row[:2]) for row in kinds["bonds"]} == wanted, letter
    assert set(geometry()) == set(RESIDUE_ATOMS)


def test_shapes_and_tolerances_that_make_no_sense_are_refused():
    pos, there, _ = dipeptide()
    with pytest.raises(ValueError, match=r"expected pos \[3, 14, 3\] and there \[3, 14\], got \[2, 14, 3\]"):
        structural_violations(pos, there, "AAA")
    with pytest.raises(ValueError, match="residue 2 is 'B', expected one of ARND"):
        structural_violations(pos, there, "AB")
    with pytest.raises(ValueError, match="tolerance must be positive, got 0"):
        structural_violations(pos, there, "AA", tolerance=0)


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark data are not there")
def test_crystal_structures_show_almost_no_violations_and_distorted_ones_do():
    chains = read_protein_chains(DATA / "protein_bm5_chains.npz", atoms="heavy").chains[:15]
    terms, clean, shaken = 0, 0, 0
    for chain in chains:
        pos, there = residue_atoms(chain)
        seq_pos = torch.zeros(len(chain.sequence), dtype=torch.long)
        seq_pos[chain.residue] = chain.seq_pos
        found = structural_violations(pos, there, chain.sequence, seq_pos)
        noise = 0.3 * torch.randn(pos.shape, generator=torch.Generator().manual_seed(0))
        terms += sum(len(t.excess) for t in found.terms.values())
        clean += sum(found.count().values())
        shaken += sum(structural_violations(pos + noise, there, chain.sequence, seq_pos).count().values())
    assert clean < 1e-3 * terms
    assert shaken > 50 * max(clean, 1)


def first_torsions(chain):
    """χ1 in degrees of the residues that can turn about Cα–Cβ: not of proline, a ring."""
    pos, there = residue_atoms(chain)
    slots = [0, 1, 4, 5]  # N, CA, CB and the first atom beyond
    turns = there[:, slots].all(1) & torch.tensor([letter != "P" for letter in chain.sequence])
    n, ca, cb, last = pos.double()[turns][:, slots].unbind(1)
    axis = torch.nn.functional.normalize(cb - ca, dim=1)
    u, v = torch.linalg.cross(axis, n - ca), torch.linalg.cross(axis, last - cb)
    return torch.atan2((torch.linalg.cross(u, v) * axis).sum(1), (u * v).sum(1)).rad2deg()


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark data are not there")
def test_designed_chains_clash_in_side_chains_that_were_never_packed_and_nowhere_else():
    chains = read_protein_chains(DATA / "protein_designed_minibinders.npz", atoms="heavy").chains
    everything, backbone = dict.fromkeys(KINDS, 0), 0
    for chain in chains:
        pos, there = residue_atoms(chain)
        for kind, count in structural_violations(pos, there, chain.sequence).count().items():
            everything[kind] += count
        there[:, RESIDUE_ATOMS["A"].index("CB") + 1 :] = False
        backbone += sum(structural_violations(pos, there, chain.sequence).count().values())
    assert everything == {"bonds": 0, "angles": 0, "peptide_bonds": 0, "peptide_angles": 0, "clashes": 3909}
    assert backbone == 0  # N, CA, C, O and CB
    # Every side chain stands eclipsed, as it was built; those of crystals are spread over three rotamers.
    angles = torch.cat([first_torsions(chain) for chain in chains])
    assert len(angles) > 1800
    assert float(angles.abs().max()) < 1.0
    crystal = first_torsions(read_protein_chains(DATA / "protein_bm5_chains.npz", atoms="heavy").chains[0])
    assert float((crystal.abs() < 30).double().mean()) < 0.05
