"""A relaxed structure, and what became of it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_atoms import RESIDUE_ATOMS
from .violations import Violations


@dataclass(frozen=True)
class Relaxed:
    """A relaxed structure, and what became of it.

    Args:
        chains: as they were given, their heavy atoms moved.
        before, after: violations, of all chains together.
        energy_before, energy_after: of the force field in eV; before with hydrogens as they were placed, so that it
            tells of clashes rather than of the structure.
        rmsd, furthest: how far heavy atoms moved in Å, root mean square and the furthest; nothing is superposed.
        rounds: minimisations.
        freed: names of residues that were no longer held in the last of them, such as "A 52A SER".
        bridges: names of the cysteines that disulfide bridges join.
        mirrored: names of residues whose Cα still has the handedness of D amino acids, which no violation tells.
    """

    chains: list[Data]
    before: Violations
    after: Violations
    energy_before: float
    energy_after: float
    rmsd: float
    furthest: float
    rounds: int
    freed: tuple[str, ...]
    bridges: tuple[tuple[str, str], ...]
    mirrored: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Return what became of it as plain values, ready for JSON."""
        return {
            "violations_before": self.before.count(),
            "violations_after": self.after.count(),
            "energy_before": {"value": self.energy_before, "unit": "eV"},
            "energy_after": {"value": self.energy_after, "unit": "eV"},
            "rmsd": {"value": self.rmsd, "unit": "Å"},
            "furthest": {"value": self.furthest, "unit": "Å"},
            "rounds": self.rounds,
            "freed": list(self.freed),
            "bridges": [list(pair) for pair in self.bridges],
            "mirrored": list(self.mirrored),
        }

    def __str__(self) -> str:
        before, after = self.before.count(), self.after.count()
        kinds = [f"{kind.replace('_', ' ')} {n} → {after[kind]}" for kind, n in before.items() if n or after[kind]]
        told = [f"violations {sum(before.values())} → {sum(after.values())}"]
        told[0] += f" ({', '.join(kinds)})" if kinds else ""
        told += [f"heavy atoms moved by {self.rmsd:.2f} Å, at most {self.furthest:.2f} Å", f"rounds: {self.rounds}"]
        for name, found in (("set free", self.freed), ("still mirrored", self.mirrored)):
            told += [f"residues {name}: {len(found)}"] if found else []
        return "; ".join(told)


def mirrored_residues(pos: Tensor, there: Tensor) -> list[int]:
    r"""Return the residues whose Cα has the handedness of D amino acids.

    .. math:: (x_N - x_{Cα}) · [(x_C - x_{Cα}) × (x_{Cβ} - x_{Cα})] < 0

    Args:
        pos: heavy atoms of the residues [L, MAX_RESIDUE_ATOMS, 3] in Å, see `residue_atoms`.
        there: which there are; residues without CB have no handedness.

    Example:
        >>> pos, there = torch.zeros(1, 14, 3), torch.arange(14).expand(1, -1) < 5
        >>> pos[0, [0, 2, 4]] = torch.eye(3)  # N, C and CB around CA
        >>> mirrored_residues(pos, there), mirrored_residues(-pos, there)
        ([], [0])
    """
    slots = [RESIDUE_ATOMS["A"].index(name) for name in ("N", "C", "CB", "CA")]
    n, c, cb, ca = pos[:, slots].unbind(1)
    volume = ((n - ca) * torch.linalg.cross(c - ca, cb - ca)).sum(1)
    return ((volume < 0) & there[:, slots].all(1)).nonzero().flatten().tolist()
