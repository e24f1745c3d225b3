import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_equiformer.data.protein_atoms import LETTER_TO_NAME, RESIDUE_ATOMS
from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.folding import fit_frames, lddt, structure_metrics, superposed_rmsd, tm_score
from pyg_equiformer.folding.groups import MAX_RESIDUE_ATOMS, SYMMETRIC
from pyg_equiformer.folding.metrics import CA
from pyg_equiformer.folding.templates import residue_atoms
from pyg_equiformer.folding.tm_search import best_tm_score, tm_scale

from ..shared_data import DATA
from .samples import LETTERS, chain, frames

PERFECT = {"ca_rmsd": 0.0, "all_atom_rmsd": 0.0, "lddt_ca": 1.0, "lddt": 1.0, "tm_score": 1.0}


def made_up(letters=LETTERS, seed=0):
    return residue_atoms(chain(letters, seed))


def noise(like, size, seed=0):
    return size * torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def moved(pos, seed=3):
    by = frames(1, seed)
    return pos @ by.rotation[0].T + by.origin[0]


def renamed(pos, residue, letter, *names):
    """Exchange each two atoms of a residue."""
    out, places = pos.clone(), [RESIDUE_ATOMS[letter].index(name) for name in names]
    for a, b in zip(places[::2], places[1::2]):
        out[residue, [a, b]] = pos[residue, [b, a]]
    return out


def traces(points):
    """Glycines of which the CA is there."""
    pos = torch.full((len(points), MAX_RESIDUE_ATOMS, 3), math.nan, dtype=torch.float64)
    pos[:, CA] = torch.as_tensor(points, dtype=torch.float64)
    return pos, torch.arange(MAX_RESIDUE_ATOMS).expand(len(points), -1) == CA, "G" * len(points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_moved_copy_is_perfect(dtype):
    pos, there = made_up()
    found = structure_metrics(moved(pos).to(dtype), pos.to(dtype), there, LETTERS)
    assert found == pytest.approx(PERFECT, abs=1e-9 if dtype == torch.float64 else 1e-5)


def test_a_mirror_image_is_not_but_has_its_distances():
    pos, there = made_up()
    found = structure_metrics(pos * torch.tensor([-1.0, 1.0, 1.0]), pos, there, LETTERS)
    assert found["ca_rmsd"] > 1
    assert found["all_atom_rmsd"] > 1
    assert found["tm_score"] < 0.9
    assert found["lddt_ca"] == found["lddt"] == 1.0


@pytest.mark.parametrize("letter", SYMMETRIC)
def test_half_turns_of_alike_atoms_do_not_count(letter):
    letters = f"G{letter}LK{letter}"
    pos, there = made_up(letters)
    names = [name for pair in SYMMETRIC[letter] for name in pair]
    other = moved(renamed(pos, 1, letter, *names))
    assert structure_metrics(other, pos, there, letters) == pytest.approx(PERFECT, abs=1e-9)
    one = lddt(other + noise(pos, 0.3), pos, there, letters).score
    assert one == pytest.approx(
        lddt(moved(pos) + renamed(noise(pos, 0.3), 1, letter, *names), pos, there, letters).score
    )


@pytest.mark.parametrize(
    ("letter", "first", "second"),
    [("R", "NH1", "NH2"), ("L", "CD1", "CD2"), ("V", "CG1", "CG2"), ("F", "CD1", "CD2"), ("N", "OD1", "ND2")],
)
def test_other_exchanged_atoms_do(letter, first, second):
    letters = f"G{letter}LKA"
    pos, there = made_up(letters)
    found = structure_metrics(renamed(pos, 1, letter, first, second), pos, there, letters)
    assert found["ca_rmsd"] < 1e-9
    assert found["all_atom_rmsd"] > 0.1
    assert found["lddt"] < 1.0


@pytest.mark.parametrize("seed", range(5))
def test_the_naming_with_the_least_error_is_found_among_all(seed):
    letters = "GDYKEAFL"
    pos, there = made_up(letters, seed)
    other, mask = pos + noise(pos, 1.0, seed), there.flatten()
    errors = []
    for swaps in itertools.product([False, True], repeat=sum(letter in SYMMETRIC for letter in letters)):
        x, turns = other, iter(swaps)
        for k, letter in enumerate(letters):
            if letter in SYMMETRIC and next(turns):
                x = renamed(x, k, letter, *(name for pair in SYMMETRIC[letter] for name in pair))
        fit = fit_frames(x.reshape(-1, 3), pos.reshape(-1, 3), mask)
        errors.append(float((fit.apply(x.reshape(-1, 3)) - pos.reshape(-1, 3))[mask].square().sum(1).mean().sqrt()))
        assert superposed_rmsd(x, pos, there, letters) == pytest.approx(superposed_rmsd(other, pos, there, letters))
    assert superposed_rmsd(other, pos, there, letters) == pytest.approx(min(errors))


def test_missing_atoms_are_left_out_and_half_a_pair_keeps_its_name():
    letters = "GDLKAD"
    pos, there = made_up(letters)
    od1 = RESIDUE_ATOMS["D"].index("OD1")
    there = there.clone()
    there[5, od1], there[3, CA] = False, False
    broken, other = pos.clone(), moved(pos)
    broken[~there], other[~there] = math.nan, math.inf
    assert structure_metrics(other, broken, there, letters) == pytest.approx(PERFECT, abs=1e-9)
    other[5, od1 + 1] += 4.0
    found = structure_metrics(other, broken, there, letters)
    assert found["all_atom_rmsd"] > 0.1
    assert found["ca_rmsd"] < 1e-9


@given(seed=st.integers(0, 2**16), size=st.floats(0.1, 4.0))
def test_motions_of_either_structure_change_nothing(seed, size):
    pos, there = made_up(seed=seed)
    other = pos + noise(pos, size, seed + 1)
    found = structure_metrics(other, pos, there, LETTERS)
    again = structure_metrics(moved(other, seed + 2), moved(pos, seed + 3), there, LETTERS)
    assert again == pytest.approx(found, abs=1e-6)
    assert all(0 <= found[name] <= 1 for name in ("lddt", "lddt_ca", "tm_score"))


def test_the_rmsd_of_a_stretched_octahedron_is_known():
    corners = torch.cat([torch.eye(3), -torch.eye(3)]).double() * 5
    true, there, letters = traces(corners)
    other = traces(corners * torch.tensor([1.2, 1.0, 1.0]))[0]
    assert superposed_rmsd(moved(other), true, there, letters, atoms="CA") == pytest.approx(1 / math.sqrt(3))
    assert superposed_rmsd(other, moved(true), there, letters) == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize(("error", "share"), [(0.3, 1.0), (0.7, 0.75), (-1.5, 0.5), (3.0, 0.25), (-5.0, 0.0)])
def test_lddt_counts_the_thresholds_of_each_pair_within_the_cutoff(error, share):
    true, there, letters = traces([[0.0, 0, 0], [9, 0, 0], [18, 0, 0], [60, 0, 0]])
    other = traces([[0.0, 0, 0], [9, 0, 0], [18 + error, 0, 0], [0, 60, 0]])[0]
    found = lddt(other, true, there, letters, atoms="CA")
    assert found.score == pytest.approx((1 + share) / 2)
    assert found.per_residue[:3].tolist() == pytest.approx([1.0, (1 + share) / 2, share])
    assert math.isnan(found.per_residue[3])  # nobody is near


def test_lddt_without_any_pair_is_not_a_number():
    true, there, letters = traces([[0.0, 0, 0], [20, 0, 0], [40, 0, 0]])
    found = lddt(true, true, there, letters)
    assert math.isnan(found.score)
    assert found.per_residue.isnan().all()


def test_lddt_leaves_pairs_of_one_residue_out():
    letters = "GGG"
    true, there = made_up(letters)
    far = true + 100.0 * torch.arange(3)[:, None, None]
    assert math.isnan(lddt(far, far, there, letters).score)


def test_half_of_a_structure_that_is_in_place_has_half_the_tm_score():
    true, there, letters = traces(noise(torch.zeros(60, 3).double(), 10.0))
    other = true.clone()
    other[30:] += torch.tensor([0.0, 0.0, 1000.0])
    assert tm_score(moved(other), true, there, letters) == pytest.approx(0.5, abs=1e-4)
    assert superposed_rmsd(other, true, there, letters) > 100


def test_the_tm_score_of_a_known_superposition_is_found():
    # The inner points hold the superposition, so that the outer one's distance is known.
    points = noise(torch.zeros(100, 3).double(), 10.0)
    other = points.clone()
    other[0] += torch.tensor([0.0, tm_scale(100) * 1000, 0.0])
    assert best_tm_score(other, points) == pytest.approx(0.99, abs=1e-5)
    assert tm_scale(100) == pytest.approx(1.24 * 85 ** (1 / 3) - 1.8)
    assert tm_scale(10) == tm_scale(18) == 0.5


def test_what_does_not_fit_together_is_refused():
    pos, there = made_up()
    length = len(LETTERS)
    with pytest.raises(ValueError, match=rf"expected pos \[{length}, 14, 3\] for {length} residues, got \[2, 14, 3\]"):
        structure_metrics(pos[:2], pos, there, LETTERS)
    with pytest.raises(ValueError, match=r"expected true_pos \[21, 14, 3\] for 21 residues, got \[21, 13, 3\]"):
        lddt(pos, pos[:, 1:], there, LETTERS)
    with pytest.raises(ValueError, match=r"expected there \[21, 14\] for 21 residues, got \[14, 21\]"):
        tm_score(pos, pos, there.T, LETTERS)
    with pytest.raises(ValueError, match="residue 2 is 'G', got atoms that are there which it does not have"):
        superposed_rmsd(pos, pos, there, "AG" + LETTERS[2:])
    with pytest.raises(ValueError, match="residue 1 is 'B', expected one of ARN"):
        superposed_rmsd(pos, pos, there, "B" + LETTERS[1:])
    with pytest.raises(ValueError, match="expected 3 residues with a CA at least, got 2"):
        structure_metrics(pos[:2], pos[:2], there[:2], LETTERS[:2])
    with pytest.raises(ValueError, match="atoms must be 'CA' or 'heavy', got 'CB'"):
        lddt(pos, pos, there, LETTERS, atoms="CB")
    with pytest.raises(ValueError, match="expected finite predicted positions"):
        structure_metrics(pos * math.nan, pos, there, LETTERS)
    with pytest.raises(ValueError, match=r"expected two times \[L, 3\] with L of 3 at least"):
        best_tm_score(pos[:2, CA], pos[:2, CA])


def real_chains():
    pytest.importorskip("biotite")
    if not DATA.is_dir():
        pytest.skip("the benchmark data are not there")
    chains = read_protein_chains(DATA / "protein_bm5_chains.npz", atoms="heavy").chains
    for seed, found in enumerate(chains[:40:8]):
        pos, there = (x.double() if x.is_floating_point() else x for x in residue_atoms(found))
        bent = pos + noise(pos, 0.6, seed)
        half = len(pos) // 2
        bent[half:, :, 2] += 0.1 * torch.arange(len(pos) - half)[:, None]
        yield bent, pos, there, found.sequence


def atom_array(pos, there, letters):
    from biotite.structure import AtomArray

    residue, slot = there.nonzero().T.tolist()
    atoms = AtomArray(len(residue))
    atoms.coord = pos[there].numpy().astype(np.float32)
    atoms.res_id = np.array(residue) + 1
    atoms.res_name = np.array([LETTER_TO_NAME[letters[k]] for k in residue])
    atoms.atom_name = np.array([RESIDUE_ATOMS[letters[k]][s] for k, s in zip(residue, slot)])
    atoms.chain_id[:] = "A"
    atoms.element = np.array([name[0] for name in atoms.atom_name])
    return atoms


def with_one_name(there, letters):
    """Which atoms are there and not alike to others."""
    out = there.clone()
    for k, letter in enumerate(letters):
        for pair in SYMMETRIC.get(letter, ()):
            out[k, [RESIDUE_ATOMS[letter].index(name) for name in pair]] = False
    return out


def test_rmsd_and_lddt_of_real_chains_are_those_of_biotite():
    for pos, true, there, letters in real_chains():
        import biotite.structure as bs

        only = with_one_name(there, letters)
        a, b = atom_array(pos, only, letters), atom_array(true, only, letters)
        fitted = bs.superimpose(b, a)[0]
        assert superposed_rmsd(pos, true, only, letters) == pytest.approx(float(bs.rmsd(b, fitted)), abs=1e-4)
        found = lddt(pos, true, only, letters)
        assert found.score == pytest.approx(float(bs.lddt(b, a)), abs=1e-4)
        theirs = torch.from_numpy(bs.lddt(b, a, aggregation="residue")).double()
        assert torch.allclose(found.per_residue[only.any(1)], theirs, atol=2e-3, equal_nan=True)
        a, b = a[a.atom_name == "CA"], b[b.atom_name == "CA"]
        found = lddt(pos, true, there, letters, atoms="CA")
        assert found.score == pytest.approx(float(bs.lddt(b, a)), abs=1e-4)
        fitted = bs.superimpose(b, a)[0]
        assert superposed_rmsd(pos, true, there, letters, atoms="CA") == pytest.approx(
            float(bs.rmsd(b, fitted)), abs=1e-4
        )
        # With names free to choose, structures can only be nearer.
        a, b = atom_array(pos, there, letters), atom_array(true, there, letters)
        assert lddt(pos, true, there, letters).score >= float(bs.lddt(b, a)) - 1e-5
        assert superposed_rmsd(pos, true, there, letters) <= float(bs.rmsd(b, bs.superimpose(b, a)[0])) + 1e-5


def test_no_superposition_of_biotite_has_a_higher_tm_score():
    for pos, true, there, letters in real_chains():
        import biotite.structure as bs

        a, b = atom_array(pos, there, letters), atom_array(true, there, letters)
        ca = np.flatnonzero(a.atom_name == "CA")
        ours = tm_score(moved(pos), true, there, letters)
        fitted = bs.superimpose_structural_homologs(b, a)[0]
        assert ours >= bs.tm_score(b, fitted, ca, ca) - 1e-5
        assert ours >= bs.tm_score(b, bs.superimpose(b, a)[0], ca, ca) - 1e-5
        # Where half of the chain is far away, the rest tells where it belongs.
        far = true.clone()
        far[(len(far) + 1) // 2 :] += 500.0
        theirs = bs.tm_score(b, atom_array(far, there, letters), ca, ca)
        assert tm_score(far, true, there, letters) == pytest.approx(theirs, abs=1e-4)
