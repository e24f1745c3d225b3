"""Structures to train on and to compare with: entries of files, their split, crops."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_atoms import RESIDUE_ATOMS
from ..data.protein_identity import split_by_identity
from .graph import structure_data
from .templates import Templates, residue_atoms

ECLIPSED = 1.0  #: degrees of χ1 around 0 that packed side chains hardly ever have
#: Fourth atom of χ1 by residue; alanine, glycine and unknown residues have none, proline's is bound.
_GAMMA = {letter: next((a for a in atoms if a[1:2] == "G"), None) for letter, atoms in RESIDUE_ATOMS.items()}


class Split(NamedTuple):
    """Proteins of a training, each a list of chains.

    Args:
        train, valid: entries.
        notes: what a user should know of them.
        templates: further chains that the shapes of groups are measured on.
    """

    train: list[list[Data]]
    valid: list[list[Data]]
    notes: list[str]
    templates: Sequence[Data] = ()


def entries_of(chains: Sequence[Data]) -> list[list[Data]]:
    """Return the chains of each entry together, in the order in which entries come first."""
    found: dict[str, list[Data]] = {}
    for chain in chains:
        found.setdefault(chain.entry, []).append(chain)
    return list(found.values())


def split_entries(chains: Sequence[Data], valid: float, seed: int, threshold: float = 0.3) -> Split:
    """Set entries apart, so that no chain of theirs is related to one that is left.

    Args:
        chains: as `read_protein_chains(…, atoms="heavy")` gives them.
        valid: part of the chains, or number of them.
        seed: of the split.
        threshold: sequence identity from which chains are related, see `identity_clusters`.

    Raises:
        ValueError: if that is not possible.
    """
    train, held = split_by_identity(list(chains), valid, seed, threshold)
    notes = [f"{len(held)} chains set apart to watch the training, none {threshold:.0%} identical to one of the rest"]
    return Split(entries_of(train), entries_of(held), notes)


def training_data(entry: Sequence[Data], templates: Templates) -> Data:
    """Return the groups of an entry with their places, side chains that were never packed taken as unknown."""
    data = structure_data(entry, templates)
    start = 0
    for chain in entry:
        end = start + len(chain.sequence)
        if unpacked(chain):
            # The first two groups of a residue are N, CA, C, O and CB.
            third = (data.residue >= start) & (data.residue < end) & (place_in_residue(data.residue) > 1)
            data.known = data.known & ~third
            data.true_mask = data.true_mask & ~third[:, None]
        start = end
    return data


def place_in_residue(residue: Tensor) -> Tensor:
    """Return which of the groups of its residue each group is [G].

    Example:
        >>> place_in_residue(torch.tensor([0, 0, 1, 1, 1])).tolist()
        [0, 1, 0, 1, 2]
    """
    new = torch.ones_like(residue, dtype=torch.bool)
    new[1:] = residue[1:] != residue[:-1]
    first = new.nonzero().squeeze(1)
    return torch.arange(len(residue), device=residue.device) - first[new.cumsum(0) - 1]


def unpacked(chain: Data) -> bool:
    """Return whether the side chains were built and never packed: most χ1 are zero, as sequence design writes them."""
    pos, there = residue_atoms(chain)
    rows, slots = [], []
    for k, letter in enumerate(chain.sequence):
        gamma = _GAMMA[letter]
        if gamma is not None and letter != "P":
            rows.append(k)
            slots.append([RESIDUE_ATOMS[letter].index(a) for a in ("N", "CA", "CB", gamma)])
    if not rows:
        return False
    index = torch.tensor(rows)[:, None], torch.tensor(slots)
    points, complete = pos[index].double(), there[index].all(1)
    a, b, c = (points[:, i + 1] - points[:, i] for i in range(3))
    n, m = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
    angle = torch.atan2((torch.linalg.cross(n, m) * b).sum(1), (n * m).sum(1) * b.norm(dim=1))
    zero = (angle.abs() < torch.pi * ECLIPSED / 180)[complete]
    return bool(len(zero)) and float(zero.double().mean()) > 0.5


def crop(data: Data, size: int, first: int) -> Data:
    """Return `size` residues of a protein from the residue `first` on; shorter proteins are returned whole."""
    if int(data.num_residues) <= size:
        return data
    keep = (data.residue >= first) & (data.residue < first + size)
    out = Data(**{k: v[keep] for k, v in data.to_dict().items() if isinstance(v, Tensor) and len(v) == len(keep)})
    out.residue = out.residue - first
    out.seq_pos = data.seq_pos[first : first + size]
    out.sequence, out.name = data.sequence[first : first + size], data.name
    out.num_residues = size
    out.num_nodes = int(keep.sum())
    return out
