"""Where a structure breaks the rules of covalent geometry: bonds, angles, peptide links and clashes."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.protein_atoms import RESIDUE_ATOMS
from ..neighbors import radius_graph
from .groups import MAX_RESIDUE_ATOMS

#: Lengths in Å and cosines of peptide links with their standard deviations: AlphaFold (Nature 596, 583 (2021)), after
#: Engh and Huber; the first for any residue, the second before proline.
PEPTIDE_LENGTH = ((1.329, 0.014), (1.341, 0.016))
PEPTIDE_COSINES = ((("CA", "C"), ("N",), -0.4473, 0.0311), (("C",), ("N", "CA"), -0.5203, 0.0353))
RADII = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}  #: van der Waals radii in Å
OVERLAP = 1.5  #: Å that the spheres of atoms that are not bonded may overlap
FLOORS = {"bonds": 0.015, "angles": 0.02}  #: smallest standard deviations: structures are refined against ideal values
KINDS = ("bonds", "angles", "peptide_bonds", "peptide_angles", "clashes")


class Terms(NamedTuple):
    """Geometric terms of one kind.

    Args:
        residues: the first and last residue of each [M, 2].
        values: lengths or distances in Å, or cosines [M].
        excess: how far each is beyond what is tolerated [M], 0 where it is within.
        labels: the atoms of each, such as "CA-CB".
    """

    residues: Tensor
    values: Tensor
    excess: Tensor
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Violations:
    """What was found in a structure.

    Args:
        terms: by kind, see `KINDS`; of the clashes only the pairs that are too near.
        num_residues: L.
    """

    terms: dict[str, Terms]
    num_residues: int

    @property
    def loss(self) -> Tensor:
        """Mean excess over the terms of each kind, that of the clashes over the residues, summed over the kinds."""
        parts = [
            t.excess.sum() / max(1, self.num_residues if kind == "clashes" else len(t.excess))
            for kind, t in self.terms.items()
        ]
        return torch.stack(parts).sum()

    def count(self) -> dict[str, int]:
        """Return the number of violations of each kind."""
        return {kind: int((t.excess > 0).sum()) for kind, t in self.terms.items()}

    def per_residue(self) -> dict[str, Tensor]:
        """Return for each kind how many violations each residue takes part in [L]."""
        out = {}
        for kind, t in self.terms.items():
            wrong = t.residues[t.excess > 0]
            both = torch.cat([wrong[:, 0], wrong[wrong[:, 0] != wrong[:, 1], 1]])
            out[kind] = torch.bincount(both, minlength=self.num_residues)
        return out


def structural_violations(
    pos: Tensor, there: Tensor, sequence: str, seq_pos: Tensor | None = None, *, tolerance: float = 12.0
) -> Violations:
    r"""Return the violations of a structure (AlphaFold, Nature 596, 583 (2021), supplement, section 1.9.11).

    .. math::
        e = \max(|y - \mu| - τ σ, 0) \ \text{for lengths and cosines}, \qquad
        e_{ab} = \max(r_a + r_b - 1.5\,\text{Å} - |x_a - x_b|, 0) \ \text{for atoms that are not bonded}

    Peptide links are those between residues whose positions follow each other. Clashes are between residues; links and
    disulfide bridges are none.

    Args:
        pos: heavy atoms of the residues [L, MAX_RESIDUE_ATOMS, 3] in Å, see `residue_positions`.
        there: which there are.
        sequence: one letter per residue.
        seq_pos: positions in the sequence [L]. None: one chain without gaps.
        tolerance: τ, in standard deviations.

    Raises:
        ValueError: if shapes do not fit the sequence, or the tolerance is not positive.
    """
    length = len(sequence)
    if pos.shape != (length, MAX_RESIDUE_ATOMS, 3) or there.shape != pos.shape[:2]:
        raise ValueError(
            f"expected pos [{length}, {MAX_RESIDUE_ATOMS}, 3] and there [{length}, {MAX_RESIDUE_ATOMS}], got "
            f"{list(pos.shape)} and {list(there.shape)}"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    seq_pos = torch.arange(length) if seq_pos is None else seq_pos.cpu()
    flat, exists = pos.reshape(-1, 3), there.reshape(-1).cpu()
    found = {}
    for kind, rows in (*_within(sequence).items(), *_between(sequence, seq_pos).items()):
        rows = [row for row in rows if all(exists[a] for a in row.atoms)]
        found[kind] = _terms(flat, rows, tolerance)
    found["clashes"] = _clashes(flat, exists, sequence, seq_pos)
    return Violations({kind: found[kind] for kind in KINDS}, length)


class _Row(NamedTuple):
    atoms: tuple[int, ...]  # places among all atoms
    mean: float
    std: float
    label: str


@cache
def geometry() -> dict[str, dict[str, list]]:
    """Return bonds and angles of each residue by its letter: names of atoms, mean, standard deviation.

    Lengths in Å and cosines in crystal structures, measured by `benchmarks/protein_geometry.py`.
    """
    text = resources.files(__package__).joinpath("geometry.json").read_text()
    table: dict[str, dict[str, list]] = json.loads(text)
    return table


def _slot(residue: int, letter: str, atom: str) -> int:
    return residue * MAX_RESIDUE_ATOMS + RESIDUE_ATOMS[letter].index(atom)


def _within(sequence: str) -> dict[str, list[_Row]]:
    rows: dict[str, list[_Row]] = {"bonds": [], "angles": []}
    for k, letter in enumerate(sequence):
        for kind, found in rows.items():
            for *names, mean, std in geometry()[letter][kind]:
                atoms = tuple(_slot(k, letter, name) for name in names)
                found.append(_Row(atoms, mean, max(std, FLOORS[kind]), "-".join(names)))
    return rows


def _between(sequence: str, seq_pos: Tensor) -> dict[str, list[_Row]]:
    rows: dict[str, list[_Row]] = {"peptide_bonds": [], "peptide_angles": []}
    for k in (seq_pos.diff() == 1).nonzero().flatten().tolist():
        a, b = sequence[k], sequence[k + 1]
        mean, std = PEPTIDE_LENGTH[b == "P"]
        rows["peptide_bonds"].append(_Row((_slot(k, a, "C"), _slot(k + 1, b, "N")), mean, std, "C-N"))
        for first, second, mean, std in PEPTIDE_COSINES:
            atoms = (*(_slot(k, a, n) for n in first), *(_slot(k + 1, b, n) for n in second))
            rows["peptide_angles"].append(_Row(atoms, mean, std, "-".join(first + second)))
    return rows


def _terms(flat: Tensor, rows: list[_Row], tolerance: float) -> Terms:
    size = len(rows[0].atoms) if rows else 2
    atoms = torch.tensor([row.atoms for row in rows], dtype=torch.long, device=flat.device).view(-1, size)
    mean, std = (
        torch.tensor([getattr(r, n) for r in rows], dtype=flat.dtype, device=flat.device) for n in _Row._fields[1:3]
    )
    x = flat[atoms].unbind(1)
    if size == 2:
        values = (x[0] - x[1]).norm(dim=1)
    else:
        values = torch.nn.functional.cosine_similarity(x[0] - x[1], x[2] - x[1], dim=1)
    excess = ((values - mean).abs() - tolerance * std).clamp(min=0)
    residues = (atoms // MAX_RESIDUE_ATOMS)[:, [0, -1]].cpu()
    return Terms(residues, values, excess, tuple(row.label for row in rows))


def _clashes(flat: Tensor, exists: Tensor, sequence: str, seq_pos: Tensor) -> Terms:
    """Pairs of atoms of two residues that are nearer than their radii allow."""
    places = exists.nonzero().flatten()
    names = [RESIDUE_ATOMS[sequence[p // MAX_RESIDUE_ATOMS]][p % MAX_RESIDUE_ATOMS] for p in places.tolist()]
    radius = torch.tensor([RADII[name[0]] for name in names], dtype=flat.dtype)
    near = radius_graph(flat[places.to(flat.device)].detach(), 2 * max(RADII.values()) - OVERLAP).cpu()
    near = near[:, near[0] < near[1]]
    rows = places[near]
    residues = rows // MAX_RESIDUE_ATOMS
    bonded = torch.tensor(
        [
            (i != j and names[a] == names[b] == "SG")
            or (int(seq_pos[j] - seq_pos[i]) == 1 and names[a] == "C" and names[b] == "N")
            for (a, b), (i, j) in zip(near.T.tolist(), residues.T.tolist())
        ],
        dtype=torch.bool,
    )
    keep = (residues[0] != residues[1]) & ~bonded
    near, rows, residues = near[:, keep], rows[:, keep].to(flat.device), residues[:, keep]
    distance = (flat[rows[0]] - flat[rows[1]]).norm(dim=1)
    allowed = (radius[near[0]] + radius[near[1]] - OVERLAP).to(flat.device)
    excess = (allowed - distance).clamp(min=0)
    labels = tuple(f"{names[a]}-{names[b]}" for a, b in near.T.tolist())
    return Terms(residues.T.contiguous(), distance, excess, labels)
