"""Rigid groups of heavy atoms that residues are made of (EquiFold, bioRxiv 2022.10.07.511322, coarse-grained nodes)."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.protein_atoms import RESIDUE_ATOMS

#: Groups beyond the two of the backbone, which all residues have.
_SIDE_CHAINS = {
    "R": ("CB CG CD", "NE NH1 NH2 CZ"),
    "D": ("CG OD1 OD2",),
    "N": ("CG ND2 OD1",),
    "C": ("CA CB SG",),
    "E": ("CG CD OE1 OE2",),
    "Q": ("CG CD OE1 NE2",),
    "H": ("CG CD2 CE1 ND1 NE2",),
    "I": ("CB CG1 CG2", "CB CG1 CD1"),
    "L": ("CG CD1 CD2",),
    "K": ("CB CG CD", "CD CE NZ"),
    "M": ("CG CE SD",),
    "F": ("CG CD1 CD2 CE1 CE2 CZ",),
    "P": ("CB CG CD",),
    "S": ("CA CB OG",),
    "T": ("CB CG2 OG1",),
    "W": ("CG CD1 CD2 CE2 CE3 CZ2 CZ3 CH2 NE1",),
    "Y": ("CG CD1 CD2 CE1 CE2 CZ OH",),
    "V": ("CB CG1 CG2",),
}
#: Atoms that a half turn of the side chain exchanges, and chemistry does not tell apart.
SYMMETRIC = {
    "D": (("OD1", "OD2"),),
    "E": (("OE1", "OE2"),),
    "F": (("CD1", "CD2"), ("CE1", "CE2")),
    "Y": (("CD1", "CD2"), ("CE1", "CE2")),
}


class Group(NamedTuple):
    """A rigid group of a residue.

    Args:
        letter: of the residue.
        atoms: names of its atoms.
    """

    letter: str
    atoms: tuple[str, ...]


def _groups() -> tuple[Group, ...]:
    found = []
    for letter, atoms in RESIDUE_ATOMS.items():
        backbone = "C CA CB N" if "CB" in atoms else "C CA N"
        parts = (backbone, "C CA O", *_SIDE_CHAINS.get(letter, ()))
        found += [Group(letter, tuple(part.split())) for part in parts]
    return tuple(found)


#: All kinds of groups; a group's type is its place here.
GROUPS = _groups()
MAX_ATOMS = max(len(group.atoms) for group in GROUPS)  #: in a group
MAX_RESIDUE_ATOMS = max(map(len, RESIDUE_ATOMS.values()))  #: heavy atoms of a residue

_TYPES: dict[str, tuple[int, ...]] = {
    letter: tuple(k for k, group in enumerate(GROUPS) if group.letter == letter) for letter in RESIDUE_ATOMS
}


def group_types(letter: str) -> tuple[int, ...]:
    """Return the types of a residue's groups.

    Raises:
        ValueError: if there is no such residue.

    Example:
        >>> [GROUPS[k].atoms for k in group_types("S")]
        [('C', 'CA', 'CB', 'N'), ('C', 'CA', 'O'), ('CA', 'CB', 'OG')]
    """
    if letter not in _TYPES:
        raise ValueError(f"there is no residue {letter!r}, expected one of {''.join(_TYPES)}")
    return _TYPES[letter]


@cache
def group_slots() -> Tensor:
    """Return for each type which of its residue's heavy atoms its atoms are [T, MAX_ATOMS], −1 beyond the last."""
    slots = torch.full((len(GROUPS), MAX_ATOMS), -1)
    for k, group in enumerate(GROUPS):
        slots[k, : len(group.atoms)] = torch.tensor([RESIDUE_ATOMS[group.letter].index(a) for a in group.atoms])
    return slots


@cache
def group_flips() -> Tensor:
    """Return for each type the places of its atoms after the half turn that exchanges alike atoms [T, MAX_ATOMS]."""
    flips = torch.arange(MAX_ATOMS).repeat(len(GROUPS), 1)
    for k, group in enumerate(GROUPS):
        for pair in SYMMETRIC.get(group.letter, ()):
            if set(pair) <= set(group.atoms):
                a, b = map(group.atoms.index, pair)
                flips[k, [a, b]] = torch.tensor([b, a])
    return flips
