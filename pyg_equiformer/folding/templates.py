"""Shapes of the rigid groups: the mean of what structures have, in the group's own frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_atoms import RESIDUE_ATOMS, check_letters
from .frames import fit_frames
from .groups import GROUPS, MAX_ATOMS, MAX_RESIDUE_ATOMS, group_slots, group_types

ROUNDS = 10  #: of alignment to the mean


@dataclass(frozen=True)
class Templates:
    """Positions of the atoms of each kind of group, around the origin.

    Args:
        positions: [T, MAX_ATOMS, 3] in Å, zero where a group has no atom.
        seen: [T], how many groups of the structures each is the mean of; 0: taken from other residues.

    Example:
        >>> made_up = Templates(torch.randn(len(GROUPS), MAX_ATOMS, 3), torch.ones(len(GROUPS)))
        >>> made_up.to(torch.zeros(1, dtype=torch.float64)).positions.dtype
        torch.float64
    """

    positions: Tensor
    seen: Tensor

    def to(self, like: Tensor) -> "Templates":
        """Return the templates with the precision and on the device of a tensor."""
        return Templates(self.positions.to(like), self.seen.to(like.device))


def group_mask() -> Tensor:
    """Return which of the MAX_ATOMS atoms each kind of group has [T, MAX_ATOMS].

    Example:
        >>> group_mask()[0].sum(), GROUPS[0].atoms
        (tensor(4), ('C', 'CA', 'CB', 'N'))
    """
    return group_slots() >= 0


def residue_atoms(chain: Data) -> tuple[Tensor, Tensor]:
    """Return positions [L, MAX_RESIDUE_ATOMS, 3] of the heavy atoms of each residue, and which are there.

    Args:
        chain: as `read_protein_chains(…, atoms="heavy")` gives it.

    Raises:
        ValueError: for data without the fields of such a chain.
    """
    missing = [name for name in ("sequence", "residue", "atom_names", "pos") if chain.get(name) is None]
    if missing:
        raise ValueError(f"expected chains of read_protein_chains, got data without {', '.join(missing)}")
    letters, length = chain.sequence, len(chain.sequence)
    slots = [RESIDUE_ATOMS[letters[k]].index(a) for k, a in zip(chain.residue.tolist(), chain.atom_names)]
    where = chain.residue, torch.tensor(slots, dtype=torch.long)
    pos = chain.pos.new_zeros(length, MAX_RESIDUE_ATOMS, 3)
    there = torch.zeros(length, MAX_RESIDUE_ATOMS, dtype=torch.bool)
    pos[where], there[where] = chain.pos, True
    return pos, there


def chain_groups(letters: str) -> tuple[Tensor, Tensor]:
    """Return type [G] and residue [G] of each group of a sequence, residue by residue.

    Raises:
        ValueError: for a letter that is none of a residue, telling which and where.

    Example:
        >>> chain_groups("GA")[1]
        tensor([0, 0, 1, 1])
    """
    check_letters(letters)
    types = [group_types(letter) for letter in letters]
    residue = [k for k, found in enumerate(types) for _ in found]
    group_type = [t for found in types for t in found]
    return torch.tensor(group_type, dtype=torch.long), torch.tensor(residue, dtype=torch.long)


def gather_groups(pos: Tensor, there: Tensor, group_type: Tensor, residue: Tensor) -> tuple[Tensor, Tensor]:
    """Return the atoms of groups out of those of residues, and which are there.

    Args:
        pos: heavy atoms of the residues [L, MAX_RESIDUE_ATOMS, 3] in Å, see `residue_atoms`.
        there: which there are [L, MAX_RESIDUE_ATOMS].
        group_type, residue: of each group [G], see `chain_groups`.

    Shapes:
        → [G, MAX_ATOMS, 3] in Å, [G, MAX_ATOMS]

    Example:
        >>> pos, there = torch.zeros(1, MAX_RESIDUE_ATOMS, 3), torch.ones(1, MAX_RESIDUE_ATOMS, dtype=torch.bool)
        >>> gather_groups(pos, there, *chain_groups("G"))[1].sum(1)  # C, CA, N and C, CA, O
        tensor([3, 3])
    """
    slots = group_slots().to(pos.device)[group_type]
    rows = residue.unsqueeze(1).expand_as(slots)
    return pos[rows, slots.clamp(min=0)], there[rows, slots.clamp(min=0)] & (slots >= 0)


def fit_templates(chains: Iterable[Data]) -> Templates:
    r"""Return the mean shape of each kind of group, over all groups that are complete.

    .. math:: t = \frac 1n \sum_i R_i^{-1} (x_i - T_i), \qquad R_i, T_i = \arg\min \left| R\, t + T - x_i \right|^2

    The n groups are moved onto their mean, which is taken anew, until it stays (generalised Procrustes analysis: Gower,
    Psychometrika 40, 33 (1975)). A kind that no chain has gets the shape of the same atoms in other residues.

    Args:
        chains: as `read_protein_chains(…, atoms="heavy")` gives them.

    Raises:
        ValueError: if a kind of group is in no chain, and in no other residue.

    Example:
        >>> letters = "ARNDCEQGHILKMFPSTWYV"
        >>> atoms = [(k, name) for k, letter in enumerate(letters) for name in RESIDUE_ATOMS[letter]]
        >>> chain = Data(  # as read_protein_chains gives it, but for its places
        ...     sequence=letters,
        ...     pos=torch.randn(len(atoms), 3),
        ...     residue=torch.tensor([k for k, _ in atoms]),
        ...     atom_names=tuple(name for _, name in atoms),
        ... )
        >>> templates = fit_templates([chain])
        >>> templates.positions.shape, int(templates.seen.sum())
        (torch.Size([63, 9, 3]), 61)
    """
    found: list[list[Tensor]] = [[] for _ in GROUPS]
    for chain in chains:
        atoms = residue_atoms(chain)
        group_type, residue = chain_groups(chain.sequence)
        pos, there = gather_groups(*atoms, group_type, residue)
        complete = (there == group_mask()[group_type]).all(1)
        for kind in group_type[complete].unique().tolist():
            found[kind].append(pos[complete & (group_type == kind)].double())
    positions = torch.zeros(len(GROUPS), MAX_ATOMS, 3, dtype=torch.float64)
    for kind, parts in enumerate(found):
        if parts:
            count = len(GROUPS[kind].atoms)
            positions[kind, :count] = _mean_shape(torch.cat(parts)[:, :count])
    seen = torch.tensor([sum(map(len, parts)) for parts in found])
    _borrow(positions, seen)
    return Templates(positions, seen)


def _mean_shape(instances: Tensor) -> Tensor:
    """Mean [A, 3] of aligned instances [n, A, 3], around its centre."""
    everything = torch.ones(instances.shape[:2], dtype=torch.bool)
    mean = instances[0] - instances[0].mean(0)
    for _ in range(ROUNDS):
        frames = fit_frames(mean.expand_as(instances), instances, everything)
        mean = frames.local(instances).mean(0)
        mean = mean - mean.mean(0)
    return mean


def _borrow(positions: Tensor, seen: Tensor) -> None:
    """Fill in kinds that were not seen with the most frequent one of the same atoms."""
    lacking: list[str] = []
    for kind in (seen == 0).nonzero().flatten().tolist():
        alike: Sequence[int] = [k for k, g in enumerate(GROUPS) if g.atoms == GROUPS[kind].atoms and seen[k] > 0]
        if alike:
            positions[kind] = positions[max(alike, key=lambda k: int(seen[k]))]
        else:
            lacking.append(f"{GROUPS[kind].letter} ({', '.join(GROUPS[kind].atoms)})")
    if lacking:
        raise ValueError(
            f"no chain has a complete group of {'; '.join(lacking)}: expected structures with every amino acid"
        )
