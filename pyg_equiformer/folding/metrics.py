"""How near predicted structures are to the true ones: RMSD, lDDT and TM-score."""

from functools import cache
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..data.protein_atoms import BACKBONE, RESIDUE_ATOMS
from ..neighbors import radius_graph
from .frames import Frames, fit_frames
from .groups import MAX_RESIDUE_ATOMS, SYMMETRIC
from .tm_search import best_tm_score

MetricAtoms = Literal["CA", "heavy"]

CA = BACKBONE.index("CA")  #: place among the atoms of every residue
CUTOFF = 15.0  #: Å; lDDT looks at the pairs of atoms that are nearer in the true structure
THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  #: Å; lDDT counts distances that are not further off
FEWEST = 3  #: residues, fewer can be superposed anyhow
ROUNDS = 20  #: of superposition and renaming; they end when no name changes, mostly after two
CHUNK = 2**20  #: pairs of atoms that are held at once


class Lddt(NamedTuple):
    """The local distance difference test of a structure, between 0 and 1.

    Args:
        score: over all pairs of atoms; NaN if there are none.
        per_residue: over the pairs of each residue's atoms [L]; NaN for residues without any.
    """

    score: float
    per_residue: Tensor


def structure_metrics(pos: Tensor, true_pos: Tensor, there: Tensor, sequence: str) -> dict[str, float]:
    """Return "ca_rmsd", "all_atom_rmsd", "lddt_ca", "lddt" and "tm_score" of a predicted structure.

    Args:
        pos: predicted heavy atoms of the residues of all chains [L, MAX_RESIDUE_ATOMS, 3] in Å.
        true_pos: where they are in truth [L, MAX_RESIDUE_ATOMS, 3] in Å, see `residue_atoms`.
        there: which atoms count [L, MAX_RESIDUE_ATOMS]; the others may be anywhere, even NaN.
        sequence: one letter per residue.

    Returns:
        RMSD in Å (`superposed_rmsd`), and scores between 0 and 1 (`lddt`, `tm_score`).

    Raises:
        ValueError: if the shapes do not fit the sequence, atoms that count are not finite or not those of the residue,
            or fewer than three residues have a CA.

    Example:
        >>> true = torch.randn(4, MAX_RESIDUE_ATOMS, 3, dtype=torch.float64)
        >>> there = torch.arange(MAX_RESIDUE_ATOMS).expand(4, -1) < 5
        >>> found = structure_metrics(true + 7.0, true, there, "AAAA")
        >>> {name: abs(round(value, 6)) for name, value in found.items()}
        {'ca_rmsd': 0.0, 'all_atom_rmsd': 0.0, 'lddt_ca': 1.0, 'lddt': 1.0, 'tm_score': 1.0}
    """
    given = pos, true_pos, there, sequence
    return {
        "ca_rmsd": superposed_rmsd(*given, atoms="CA"),
        "all_atom_rmsd": superposed_rmsd(*given),
        "lddt_ca": lddt(*given, atoms="CA").score,
        "lddt": lddt(*given).score,
        "tm_score": tm_score(*given),
    }


def superposed_rmsd(
    pos: Tensor, true_pos: Tensor, there: Tensor, sequence: str, *, atoms: MetricAtoms = "heavy"
) -> float:
    r"""Return the root mean square distance after superposition (Kabsch, Acta Cryst. A32, 922 (1976)).

    .. math:: \min_{R, T, π} \sqrt{\frac{1}{n} \sum_a \left| R x_{π(a)} + T - x_a^* \right|^2}

    Each ASP, GLU, PHE and TYR has those of the two names π of its alike atoms that make the error least: superposition
    and renaming take turns, from the superposition of all other atoms on, until no name changes.

    Args:
        pos, true_pos, there, sequence: see `structure_metrics`.
        atoms: "CA", or "heavy" for all.

    Returns:
        in Å.

    Raises:
        ValueError: as `structure_metrics`, or for another choice of atoms.
    """
    x, y, mask = _checked(pos, true_pos, there, sequence, atoms)
    flips = _flips(sequence)
    renamed, both = _swap(x, flips), _swappable(mask, flips)
    fixed = mask & ~_moves(flips)
    fit = _superpose(x, y, fixed if int(fixed.sum()) >= FEWEST else mask)
    better = torch.zeros_like(both)
    for _ in range(ROUNDS):
        before = better
        better = both & (_squares(fit.apply(renamed), y, mask).sum(1) < _squares(fit.apply(x), y, mask).sum(1))
        chosen = torch.where(better[:, None, None], renamed, x)
        fit = _superpose(chosen, y, mask)
        if torch.equal(before, better):
            break
    return float((_squares(fit.apply(chosen), y, mask).sum() / mask.sum()).sqrt())


def lddt(pos: Tensor, true_pos: Tensor, there: Tensor, sequence: str, *, atoms: MetricAtoms = "heavy") -> Lddt:
    r"""Return the local distance difference test (Mariani et al., Bioinformatics 29, 2722 (2013)).

    .. math::
        \frac{1}{4 |P|} \sum_{(a, b) \in P} \sum_{t \in \{0.5, 1, 2, 4\}}
        \left[\, \left| |x_a - x_b| - |x_a^* - x_b^*| \right| \le t \,\text{Å} \right]

    over the pairs P of atoms of different residues, of one chain or of two, that are within 15 Å in the true structure.
    Each ASP, GLU, PHE and TYR has those of the two names of its alike atoms whose distances to all atoms that have one
    name only score higher. Nothing is superposed; mirror images score as well.

    Args:
        pos, true_pos, there, sequence: see `structure_metrics`.
        atoms: "CA", or "heavy" for all.

    Raises:
        ValueError: as `structure_metrics`, or for another choice of atoms.
    """
    x, y, mask = _checked(pos, true_pos, there, sequence, atoms)
    rows = mask.flatten().nonzero().flatten()
    pairs = rows[radius_graph(y.view(-1, 3)[rows], CUTOFF)]
    pairs = pairs[:, pairs[0] // MAX_RESIDUE_ATOMS != pairs[1] // MAX_RESIDUE_ATOMS]
    flips = _flips(sequence)
    alike, renamed = _moves(flips), _swap(x, flips)
    # Pairs of an atom with two names and one with a single name tell which name is right.
    telling = (alike & _swappable(mask, flips)[:, None]).flatten()[pairs[0]] & ~alike.flatten()[pairs[1]]
    some = pairs[:, telling]
    gain = _per_residue(_kept(renamed, x, y, some) - _kept(x, x, y, some), some, len(sequence))
    x = torch.where((gain > 0)[:, None, None], renamed, x)
    kept = _kept(x, x, y, pairs)
    count = _per_residue(torch.ones_like(kept), pairs, len(sequence))
    return Lddt(float(kept.mean()), _per_residue(kept, pairs, len(sequence)) / count)


def tm_score(pos: Tensor, true_pos: Tensor, there: Tensor, sequence: str) -> float:
    r"""Return the TM-score of the CA atoms (Zhang and Skolnick, Proteins 57, 702 (2004)).

    .. math::
        \max_{R, T} \frac{1}{L} \sum_i \frac{1}{1 + |R x_i + T - x_i^*|^2 / d_0^2}, \qquad
        d_0 = \max\left(1.24 \sqrt[3]{L - 15} - 1.8, \; 0.5\right) \,\text{Å}

    over the L residues that have a CA, of all chains together; see `best_tm_score`.

    Args:
        pos, true_pos, there, sequence: see `structure_metrics`.

    Raises:
        ValueError: as `structure_metrics`.
    """
    x, y, mask = _checked(pos, true_pos, there, sequence, "CA")
    return best_tm_score(x[mask], y[mask])


def _checked(
    pos: Tensor, true_pos: Tensor, there: Tensor, sequence: str, atoms: MetricAtoms
) -> tuple[Tensor, Tensor, Tensor]:
    """Return positions in float64, zero where no atom counts, and which atoms of the choice count; on the CPU."""
    if atoms not in get_args(MetricAtoms):
        raise ValueError(f"atoms must be 'CA' or 'heavy', got {atoms!r}")
    shape = [len(sequence), MAX_RESIDUE_ATOMS]
    for name, value, wanted in (
        ("pos", pos, [*shape, 3]),
        ("true_pos", true_pos, [*shape, 3]),
        ("there", there, shape),
    ):
        if list(value.shape) != wanted:
            raise ValueError(f"expected {name} {wanted} for {len(sequence)} residues, got {list(value.shape)}")
    there = there.detach().cpu().bool()
    _check_residues(there, sequence)
    mask = there.clone()
    if atoms == "CA":
        mask[:, torch.arange(MAX_RESIDUE_ATOMS) != CA] = False
    found = []
    for name, value in (("predicted", pos), ("true", true_pos)):
        value = value.detach().cpu().double()
        found.append(torch.where(mask.unsqueeze(-1), value, torch.zeros_like(value)))
        if not bool(found[-1].isfinite().all()):
            raise ValueError(f"expected finite {name} positions of the atoms that are there, got NaN or infinity")
    return found[0], found[1], mask


def _check_residues(there: Tensor, sequence: str) -> None:
    for place, letter in enumerate(sequence, 1):
        if letter not in RESIDUE_ATOMS:
            raise ValueError(f"residue {place} is {letter!r}, expected one of {''.join(RESIDUE_ATOMS)}")
    sizes = torch.tensor([len(RESIDUE_ATOMS[letter]) for letter in sequence]).view(-1, 1)
    if len(wrong := (there & (torch.arange(MAX_RESIDUE_ATOMS) >= sizes)).any(1).nonzero()):
        place = int(wrong[0])
        raise ValueError(f"residue {place + 1} is {sequence[place]!r}, got atoms that are there which it does not have")
    if (count := int(there[:, CA].sum())) < FEWEST:
        raise ValueError(f"expected {FEWEST} residues with a CA at least, got {count}")


@cache
def _letter_flips(letter: str) -> tuple[int, ...]:
    """Places of a residue's atoms after the half turn that exchanges alike ones."""
    names, flips = RESIDUE_ATOMS[letter], list(range(MAX_RESIDUE_ATOMS))
    for pair in SYMMETRIC.get(letter, ()):
        a, b = map(names.index, pair)
        flips[a], flips[b] = b, a
    return tuple(flips)


def _flips(sequence: str) -> Tensor:
    return torch.tensor([_letter_flips(letter) for letter in sequence])


def _moves(flips: Tensor) -> Tensor:
    """Which atoms have two names [L, MAX_RESIDUE_ATOMS]."""
    return flips != torch.arange(MAX_RESIDUE_ATOMS)


def _swap(x: Tensor, flips: Tensor) -> Tensor:
    return x.gather(1, flips.unsqueeze(-1).expand(-1, -1, 3))


def _swappable(mask: Tensor, flips: Tensor) -> Tensor:
    """Which residues have alike atoms, and none without the other [L]: half a pair cannot take the other name."""
    return (mask & _moves(flips)).any(1) & (mask == mask.gather(1, flips)).all(1)


def _superpose(x: Tensor, y: Tensor, mask: Tensor) -> Frames:
    return fit_frames(x.view(-1, 3), y.view(-1, 3), mask.flatten())


def _squares(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Squared distances [L, MAX_RESIDUE_ATOMS], zero where no atom counts."""
    return (x - y).square().sum(-1) * mask


def _kept(first: Tensor, second: Tensor, true: Tensor, pairs: Tensor) -> Tensor:
    """Share of the thresholds that the distance of each pair of atoms [2, P] keeps."""
    first, second, true = (x.view(-1, 3) for x in (first, second, true))
    parts = []
    for a, b in (part.unbind() for part in pairs.split(CHUNK, dim=1)):
        error = ((first[a] - second[b]).norm(dim=1) - (true[a] - true[b]).norm(dim=1)).abs()
        parts.append(torch.stack([error <= t for t in THRESHOLDS]).double().mean(0))
    return torch.cat(parts)


def _per_residue(values: Tensor, pairs: Tensor, length: int) -> Tensor:
    """Sum the values of pairs over those of each residue [L]."""
    return values.new_zeros(length).index_add(0, pairs[0] // MAX_RESIDUE_ATOMS, values)
