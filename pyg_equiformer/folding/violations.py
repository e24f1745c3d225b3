"""Where a structure breaks the rules of covalent geometry: bonds, angles, peptide links and clashes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..neighbors import radius_graph
from .geometry import RADII, Rows, atom_kinds, atom_label, residue_kinds, terms_between, terms_within
from .groups import MAX_RESIDUE_ATOMS

OVERLAP = 1.5  #: Å that the spheres of atoms that are not bonded may overlap
KINDS = ("bonds", "angles", "peptide_bonds", "peptide_angles", "clashes")


class Terms(NamedTuple):
    """Geometric terms of one kind.

    Args:
        atoms: of each [M, 2 or 3], as places among all atoms: residue · MAX_RESIDUE_ATOMS + place in the residue.
        values: lengths or distances in Å, or cosines [M].
        excess: how far each is beyond what is tolerated [M], 0 where it is within.
        sequence: one letter per residue.
    """

    atoms: Tensor
    values: Tensor
    excess: Tensor
    sequence: str

    @property
    def residues(self) -> Tensor:
        """The first and last residue of each [M, 2]."""
        return self.atoms[:, [0, -1]] // MAX_RESIDUE_ATOMS

    @property
    def labels(self) -> tuple[str, ...]:
        """The atoms of each, such as "CA-CB"."""
        return tuple(atom_label(self.sequence, row) for row in self.atoms.tolist())


@dataclass(frozen=True)
class Violations:
    """What was found in a structure.

    Args:
        terms: by kind, see `KINDS`; of the clashes only the pairs that are too near.
        num_residues: L.

    Example:
        >>> pos, there = torch.zeros(2, MAX_RESIDUE_ATOMS, 3), torch.zeros(2, MAX_RESIDUE_ATOMS, dtype=torch.bool)
        >>> there[:, 1], pos[1, 1, 0] = True, 1.5  # two Cα, 0.4 Å nearer than they may be
        >>> found = structural_violations(pos, there, "GG")
        >>> found.terms["clashes"].labels, found.per_residue()["clashes"].tolist(), round(float(found.loss), 3)
        (('CA-CA',), [1, 1], 0.2)
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
        ValueError: if shapes do not fit the sequence, it has an unknown letter, or the tolerance is not positive.

    Example:
        >>> pos, there = torch.zeros(1, MAX_RESIDUE_ATOMS, 3), torch.zeros(1, MAX_RESIDUE_ATOMS, dtype=torch.bool)
        >>> pos[0, 1, 0], there[0, :2] = 1.9, True  # N and CA, far apart for a bond
        >>> structural_violations(pos, there, "G").count()
        {'bonds': 1, 'angles': 0, 'peptide_bonds': 0, 'peptide_angles': 0, 'clashes': 0}
    """
    length = len(sequence)
    if pos.shape != (length, MAX_RESIDUE_ATOMS, 3) or there.shape != pos.shape[:2]:
        raise ValueError(
            f"expected pos [{length}, {MAX_RESIDUE_ATOMS}, 3] and there [{length}, {MAX_RESIDUE_ATOMS}], got "
            f"{list(pos.shape)} and {list(there.shape)}"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    kinds = residue_kinds(sequence, pos.device)
    seq_pos = torch.arange(length, device=pos.device) if seq_pos is None else seq_pos.to(pos.device)
    flat, exists = pos.reshape(-1, 3), there.reshape(-1).to(pos.device)
    rows = {kind: terms_within(kinds, kind) for kind in ("bonds", "angles")} | terms_between(kinds, seq_pos)
    found = {kind: _terms(flat, exists, each, sequence, tolerance) for kind, each in rows.items()}
    found["clashes"] = _clashes(flat, exists, sequence, kinds, seq_pos)
    return Violations(found, length)


def _terms(flat: Tensor, exists: Tensor, rows: Rows, sequence: str, tolerance: float) -> Terms:
    """Terms whose atoms are all there."""
    atoms, mean, std = (each[exists[rows.atoms].all(1)] for each in rows)
    x = flat[atoms].unbind(1)
    if len(x) == 2:
        values = (x[0] - x[1]).norm(dim=1)
    else:
        values = torch.nn.functional.cosine_similarity(x[0] - x[1], x[2] - x[1], dim=1)
    excess = ((values - mean.to(flat)).abs() - tolerance * std.to(flat)).clamp(min=0)
    return Terms(atoms, values, excess, sequence)


def _clashes(flat: Tensor, exists: Tensor, sequence: str, kinds: Tensor, seq_pos: Tensor) -> Terms:
    """Pairs of atoms of two residues that are nearer than their radii allow."""
    places = exists.nonzero().flatten()
    near = radius_graph(flat[places].detach(), 2 * max(RADII.values()) - OVERLAP)
    a, b = places[near[:, near[0] < near[1]]]
    residue, other = a // MAX_RESIDUE_ATOMS, b // MAX_RESIDUE_ATOMS
    table = atom_kinds(flat.device)
    kind, other_kind = (kinds[r] * MAX_RESIDUE_ATOMS + p % MAX_RESIDUE_ATOMS for r, p in ((residue, a), (other, b)))
    bridge = table.sulfur[kind] & table.sulfur[other_kind]
    link = table.carbon[kind] & table.nitrogen[other_kind] & (seq_pos[other] - seq_pos[residue] == 1)
    keep = (residue != other) & ~bridge & ~link
    atoms = torch.stack([a[keep], b[keep]], dim=1)
    distance = (flat[atoms[:, 0]] - flat[atoms[:, 1]]).norm(dim=1)
    allowed = (table.radius[kind[keep]] + table.radius[other_kind[keep]]).to(flat) - OVERLAP
    return Terms(atoms, distance, (allowed - distance).clamp(min=0), sequence)
