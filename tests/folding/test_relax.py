import random
import sys

import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.data import read_protein_chains
from pyg_equiformer.folding import Relaxed, relax
from pyg_equiformer.folding.amber import RestrainedProtein
from pyg_equiformer.folding.relax import STIFFNESS
from pyg_equiformer.folding.relaxed import mirrored_residues
from pyg_equiformer.folding.templates import residue_atoms
from pyg_equiformer.units import KCAL_PER_MOL

from ..shared_data import DATA

pytest.importorskip("openmm")
FAST = {"solvent": "none", "threads": 1}


#: Length in Å, angle and torsion in degrees of each atom after the three before it that are named.
ATOMS = {
    "N": (("-N", "-CA", "-C"), 1.329, 116.6, 130.0),
    "CA": (("-CA", "-C", "N"), 1.458, 121.4, 180.0),
    "C": (("-C", "N", "CA"), 1.525, 111.0, -120.0),
    "O": (("N", "CA", "C"), 1.231, 120.4, -50.0),
    "CB": (("N", "C", "CA"), 1.53, 110.1, 122.6),
}
START = {"-N": (0.0, 1.4, 0.0), "-CA": (0.0, 0.0, 0.0), "-C": (1.5, 0.0, 0.0)}


def attached(a, b, c, length, angle, torsion):
    """The place of an atom beyond c, with the angle b–c–atom and the torsion a–b–c–atom."""
    angle, torsion = torch.tensor([angle, torsion], dtype=torch.float64).deg2rad()
    u = torch.nn.functional.normalize(c - b, dim=0)
    n = torch.nn.functional.normalize(torch.linalg.cross(b - a, u), dim=0)
    side = torch.linalg.cross(n, u)
    return c + length * (-angle.cos() * u + angle.sin() * (torsion.cos() * side + torsion.sin() * n))


def strand(letters="AA", chain="A", shift=(0.0, 0.0, 0.0), torn=0.0, seq_pos=None):
    """An extended strand with ideal lengths and angles.

    Args:
        letters: A, G or X.
        chain: its id.
        shift: of all atoms, in Å.
        torn: Å by which peptide links are too long.
        seq_pos: of the residues.
    """
    rows, pos = [], []
    before = {name: torch.tensor(x, dtype=torch.float64) for name, x in START.items()}
    for k, letter in enumerate(letters):
        here = dict(before)
        for atom, (after, length, *angles) in ATOMS.items():
            here[atom] = attached(*(here[name] for name in after), length + torn * (atom == "N"), *angles)
            if letter != "G" or atom != "CB":
                rows.append((k, atom))
                pos.append(here[atom] + torch.tensor(shift, dtype=torch.float64))
        before = {f"-{name}": here[name] for name in ("N", "CA", "C")}
    residue = torch.tensor([k for k, _ in rows])
    return Data(
        pos=torch.stack(pos),
        residue=residue,
        seq_pos=residue if seq_pos is None else torch.tensor(seq_pos)[residue],
        sequence=letters,
        atom_names=tuple(atom for _, atom in rows),
        residue_ids=tuple(str(k + 1) for k in range(len(letters))),
        name=f"made_{chain}",
        entry="file:made",
        chain=chain,
    )


def place(chain, residue, atom):
    (row,) = (k for k, a in enumerate(chain.atom_names) if a == atom and int(chain.residue[k]) == residue)
    return chain.pos[row].double()


def distance(a, b):
    return float((a - b).norm())


def counts(found):
    return sum(found.before.count().values()), sum(found.after.count().values())


def shaken(chain, size=0.3):
    out = chain.clone()
    noise = torch.randn(chain.pos.shape, generator=torch.Generator().manual_seed(0))
    out.pos = chain.pos + size * noise
    return out


@pytest.fixture(scope="module")
def crystal():
    """The chain of 47 residues of an elastase inhibitor, with four disulfide bridges."""
    if not DATA.is_dir():
        pytest.skip("the benchmark data are not there")
    chains = read_protein_chains(DATA / "protein_bm5_chains.npz", atoms="heavy").chains
    return min(chains, key=lambda chain: len(chain.sequence))


@pytest.mark.parametrize("solvent", ["none", "obc"])
def test_a_shaken_crystal_structure_is_mended_and_comes_nearer_to_the_crystal(crystal, solvent):
    chain = shaken(crystal)
    given = chain.pos.clone()
    found = relax([chain], solvent=solvent, threads=1)
    before, after = counts(found)
    assert before > 300
    assert after == 0
    (new,) = found.chains
    assert float((new.pos - crystal.pos).square().sum(1).mean()) < 0.8 * float(
        (given - crystal.pos).square().sum(1).mean()
    )
    steps = (new.pos - given).norm(dim=1)
    assert found.rmsd == pytest.approx(float(steps.square().mean().sqrt()), abs=1e-5)
    assert found.furthest == pytest.approx(float(steps.max()), abs=1e-5)
    assert found.rmsd < 0.6
    assert found.energy_after < 0.01 * found.energy_before
    assert (found.rounds, found.freed) == (1, ())
    assert len(found.bridges) == 4
    ends = [chain.residue_ids.index(name.split()[1]) for pair in found.bridges for name in pair]
    bonds = [distance(place(new, a, "SG"), place(new, b, "SG")) for a, b in zip(ends[::2], ends[1::2])]
    assert bonds == pytest.approx([2.04] * 4, abs=0.05)
    assert torch.equal(chain.pos, given)
    assert new.pos.dtype == given.dtype
    assert new.keys() == chain.keys()
    assert new.atom_names == chain.atom_names


def test_a_crystal_structure_without_violations_hardly_moves(crystal):
    found = relax([crystal], **FAST)
    assert counts(found) == (0, 0)
    assert found.rmsd < 0.35


def test_a_torn_peptide_link_is_joined():
    found = relax([strand("AAAA", torn=0.4)], **FAST)
    assert found.before.count()["peptide_bonds"] == 3
    assert counts(found)[1] == 0
    (new,) = found.chains
    for k in range(3):
        assert distance(place(new, k, "C"), place(new, k + 1, "N")) == pytest.approx(1.33, abs=0.1)


def test_chains_that_clash_move_apart_together():
    chains = [strand("AAAA", "H"), strand("GAG", "L", shift=(0.4, 0.9, 1.8))]
    found = relax(chains, **FAST)
    assert found.before.count()["clashes"] > 3
    assert counts(found)[1] == 0
    for old, new in zip(chains, found.chains, strict=True):
        assert (new.chain, new.sequence, new.atom_names) == (old.chain, old.sequence, old.atom_names)
        assert float((new.pos - old.pos).norm(dim=1).max()) > 0.1
    # Alone, there is nothing to mend.
    assert counts(relax(chains[1:], **FAST))[0] == 0


def test_residues_that_violate_are_set_free_round_by_round():
    chain = strand("AAAAAA")
    chain.pos[(chain.residue == 2) & torch.tensor([a == "CB" for a in chain.atom_names])] += torch.tensor([0.8, 0, 0])
    stiff = {"stiffness": 500.0, **FAST}
    first = relax([chain], max_rounds=1, **stiff)
    assert (first.rounds, first.freed) == (1, ())
    assert counts(first)[1] > 0
    found = relax([chain], **stiff)
    assert (found.rounds, found.freed) == (2, ("A 3 ALA",))
    assert counts(found)[1] == 0
    held = chain.residue != 2
    assert float((found.chains[0].pos - chain.pos)[held].norm(dim=1).max()) < 0.05
    assert float((found.chains[0].pos - chain.pos)[~held].norm(dim=1).max()) > 0.3
    assert str(found).endswith("rounds: 2; residues set free: 1")


def test_springs_have_the_stiffness_that_is_asked_for():
    assert pytest.approx(10 * KCAL_PER_MOL) == STIFFNESS
    chain = strand("AA")
    protein = RestrainedProtein([chain], [], stiffness=2.0, solvent="none", platform="Reference", threads=1)
    context = protein._context

    def energies():
        """Of all forces and of those of the force field, in eV."""
        everything = context.getState(getEnergy=True).getPotentialEnergy()._value * KCAL_PER_MOL / 4.184
        return everything, protein.energy

    assert energies()[0] == pytest.approx(energies()[1])
    places = context.getState(getPositions=True).getPositions(asNumpy=True)
    places[:, 0] += 0.03 * places.unit  # nm: all 10 heavy atoms by 0.3 Å, which the force field does not mind
    context.setPositions(places)
    both, field = energies()
    assert both - field == pytest.approx(10 * 2.0 / 2 * 0.3**2, rel=1e-4)


def test_where_a_chain_is_broken_nothing_pulls_its_ends_together():
    joined = strand("AAAA", torn=0.6)
    broken = strand("AAAA", torn=0.6, seq_pos=[0, 1, 6, 7])
    ends = [distance(place(c, 1, "C"), place(c, 2, "N")) for x in (joined, broken) for c in relax([x], **FAST).chains]
    assert ends[0] < 1.5
    assert ends[1] > 1.9


def test_unknown_residues_are_alanine_or_glycine():
    chain = strand("AXG")
    other = strand("AAG")
    assert torch.equal(relax([chain], **FAST).chains[0].pos, relax([other], **FAST).chains[0].pos)
    bare = strand("AGG")
    bare.sequence = "AXG"
    (new,) = relax([bare], **FAST).chains
    assert new.sequence == "AXG"
    assert len(new.pos) == len(bare.pos)


def test_mirrored_residues_are_turned_unless_they_are_unknown():
    chain = strand("AGAX")
    assert mirrored_residues(*residue_atoms(chain)) == []
    chain.pos[:, 2] *= -1
    assert mirrored_residues(*residue_atoms(chain)) == [0, 2, 3]
    found = relax([chain], **FAST)
    assert found.mirrored == ("A 4 UNK",)
    assert counts(found) == (0, 0)
    assert str(found).endswith("residues still mirrored: 1")


def test_only_the_nearest_of_several_cysteines_are_bonded():
    from pyg_equiformer.folding.relax import _bridges

    sulfur = torch.tensor([[0.0, 0, 0], [2.4, 0, 0], [4.4, 0, 0], [0.0, 2.9, 0], [0.0, 6.0, 0]], dtype=torch.float64)
    chains = [
        Data(pos=sulfur[a:b], residue=torch.arange(b - a), atom_names=("SG",) * (b - a), sequence="C" * (b - a))
        for a, b in ((0, 2), (2, 5))
    ]
    assert _bridges(chains) == [(0, 3), (1, 2)]
    assert _bridges([strand("AA")]) == []


def test_results_are_the_same_each_time_and_leave_random_numbers_alone():
    state = random.getstate()
    found = [relax([strand("AAAA", torn=0.4)], threads=1) for _ in range(2)]
    assert torch.equal(found[0].chains[0].pos, found[1].chains[0].pos)
    assert random.getstate() == state
    other = relax([strand("AAAA", torn=0.4)], platform="Reference", solvent="obc")
    assert float((found[0].chains[0].pos - other.chains[0].pos).norm(dim=1).max()) < 0.1


def test_the_summary_is_plain_and_tells_units():
    found = relax([strand("AA", torn=0.4)], **FAST)
    told = found.summary()
    assert isinstance(found, Relaxed)
    assert told["violations_before"]["peptide_bonds"] == 1
    assert told["rmsd"] == {"value": found.rmsd, "unit": "Å"}
    assert told["energy_after"]["unit"] == "eV"
    assert str(found).startswith("violations 1 → 0 (peptide bonds 1 → 0); heavy atoms moved by 0.")


def changed(**values):
    chain = strand("AA")
    for name, value in values.items():
        chain[name] = value
    return chain


def without(chain, residue, atom):
    keep = [k for k, a in enumerate(chain.atom_names) if a != atom or int(chain.residue[k]) != residue]
    chain = chain.clone()
    chain.atom_names = tuple(chain.atom_names[k] for k in keep)
    for name in ("pos", "residue", "seq_pos"):
        chain[name] = chain[name][keep]
    return chain


@pytest.mark.parametrize(
    ("chains", "told"),
    [
        ([], "expected the chains of an entry, got none"),
        ([Data(pos=torch.zeros(1, 3))], "got data without sequence, residue, seq_pos"),
        ([without(strand("AAAA"), 1, "CB")], r"all heavy atoms of each residue, these lack some: A 2 ALA \(CB\)$"),
        ([without(strand("AA", "L"), 1, "O")], r"L 2 ALA \(O\)"),
        ([strand("AAA", seq_pos=[0, 1, 5])], "bonded to a neighbour, these stand alone: A 3 ALA$"),
        ([changed(pos=torch.full((10, 3), torch.nan))], "NaN or infinity for N of A 1$"),
        ([strand("AA"), strand("AA", "B")], "N of B 1 ALA and N of A 1 ALA|N of A 1 ALA and N of B 1 ALA"),
    ],
)
def test_structures_that_the_force_field_has_nothing_for_are_refused(chains, told):
    with pytest.raises(ValueError, match=told):
        relax(chains, **FAST)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"stiffness": -1.0}, "stiffness must be finite and not negative, in eV/Å², got -1.0"),
        ({"max_rounds": 0}, "max_rounds must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"solvent": "water"}, "solvent must be one of obc, none, got 'water'"),
        ({"platform": "GPU"}, "platform must be one of auto, CPU, CUDA, Reference, got 'GPU'"),
        ({"tolerance": 0.0}, "tolerance must be positive, got 0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        relax([strand("AA")], **settings)


def test_a_platform_that_is_not_there_is_refused():
    import openmm

    there = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    if "CUDA" in there:
        pytest.skip("CUDA is there")
    with pytest.raises(ValueError, match=f"OpenMM has no platform 'CUDA' here, only {', '.join(there)}"):
        relax([strand("AA")], platform="CUDA")


def test_without_openmm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ImportError, match=r'pip install "pyg_equiformer\[relax\]"'):
        relax([strand("AA")])
