"""Covalent geometry of residues and peptide links, as tables that a whole sequence is looked up in at once."""

import json
from functools import cache
from importlib import resources
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.protein_atoms import BACKBONE, RESIDUE_ATOMS, check_letters
from .groups import MAX_RESIDUE_ATOMS

#: Lengths in Å and cosines of peptide links with their standard deviations: AlphaFold (Nature 596, 583 (2021)), after
#: Engh and Huber; the first for any residue, the second before proline.
PEPTIDE_LENGTH = ((1.329, 0.014), (1.341, 0.016))
PEPTIDE_COSINES = ((("CA", "C"), ("N",), -0.4473, 0.0311), (("C",), ("N", "CA"), -0.5203, 0.0353))
RADII = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}  #: van der Waals radii in Å
FLOORS = {"bonds": 0.015, "angles": 0.02}  #: smallest standard deviations: structures are refined against ideal values

_LETTERS = tuple(RESIDUE_ATOMS)
#: Names of the atoms of all residues, MAX_RESIDUE_ATOMS of each, "" where it has fewer.
_NAMES = tuple(n for a in RESIDUE_ATOMS.values() for n in (*a, *[""] * (MAX_RESIDUE_ATOMS - len(a))))


class Rows(NamedTuple):
    """Terms of one kind, and what they should be.

    Args:
        atoms: of each term [M, 2 or 3], as places among all atoms: residue · MAX_RESIDUE_ATOMS + place in the residue.
        mean: lengths in Å or cosines [M].
        std: their standard deviations [M].
    """

    atoms: Tensor
    mean: Tensor
    std: Tensor


class AtomKinds(NamedTuple):
    """What clashes depend on, for each atom of each kind of residue [kinds · MAX_RESIDUE_ATOMS].

    Args:
        radius: of van der Waals in Å.
        sulfur: SG of cysteine, which bridges join.
        carbon, nitrogen: C and N of the backbone, which peptide links join.
    """

    radius: Tensor
    sulfur: Tensor
    carbon: Tensor
    nitrogen: Tensor


@cache
def geometry() -> dict[str, dict[str, list]]:
    """Return bonds and angles of each residue by its letter: names of atoms, mean, standard deviation.

    Lengths in Å and cosines in crystal structures, measured by `benchmarks/protein_geometry.py`.

    Example:
        >>> geometry()["G"]["bonds"][0]
        ['N', 'CA', 1.4562, 0.0142]
    """
    text = resources.files(__package__).joinpath("geometry.json").read_text()
    table: dict[str, dict[str, list]] = json.loads(text)
    return table


def residue_kinds(sequence: str, device: torch.device) -> Tensor:
    """Return the number of each residue's kind [L].

    Raises:
        ValueError: for a letter that is none of a residue, telling which and where.

    Example:
        >>> residue_kinds("ARA", torch.device("cpu"))
        tensor([0, 1, 0])
    """
    check_letters(sequence)
    return torch.tensor([_LETTERS.index(letter) for letter in sequence], dtype=torch.long, device=device)


def atom_label(sequence: str, atoms: list[int]) -> str:
    """Return the names of atoms, given as places among all atoms of a sequence.

    Example:
        >>> atom_label("GA", [1, MAX_RESIDUE_ATOMS + 4])
        'CA-CB'
    """
    places = [divmod(atom, MAX_RESIDUE_ATOMS) for atom in atoms]
    return "-".join(RESIDUE_ATOMS[sequence[residue]][slot] for residue, slot in places)


def terms_within(kinds: Tensor, kind: str) -> Rows:
    """Return the bonds or the angles of residues, residue by residue.

    Args:
        kinds: of the residues [L], see `residue_kinds`.
        kind: "bonds" or "angles".
    """
    (slots, mean, std), real = _within(kind, kinds.device)
    start = MAX_RESIDUE_ATOMS * torch.arange(len(kinds), device=kinds.device)
    chosen = real[kinds]
    atoms = slots[kinds] + start[:, None, None]
    return Rows(atoms[chosen], mean[kinds][chosen], std[kinds][chosen])


def terms_between(kinds: Tensor, seq_pos: Tensor) -> dict[str, Rows]:
    """Return the bonds and angles of the peptide links, link by link.

    Args:
        kinds: of the residues [L], see `residue_kinds`.
        seq_pos: positions in the sequence [L]; those that follow each other are linked.
    """
    first = (seq_pos.diff() == 1).nonzero().flatten()
    proline = (kinds[first + 1] == _LETTERS.index("P")).long()
    start = MAX_RESIDUE_ATOMS * first[:, None]
    (bond, length), (angles, mean, std) = _between(kinds.device)
    mean, std = (each.expand(len(first), -1).flatten() for each in (mean, std))
    angle_atoms = (start.unsqueeze(1) + angles).flatten(0, 1)
    return {
        "peptide_bonds": Rows(start + bond, *length[proline].unbind(1)),
        "peptide_angles": Rows(angle_atoms, mean, std),
    }


@cache
def atom_kinds(device: torch.device) -> AtomKinds:
    """Return what clashes depend on, for each atom of each kind of residue."""
    radius = torch.tensor([RADII[name[0]] if name else 0.0 for name in _NAMES], dtype=torch.float64, device=device)
    flags = (torch.tensor([name == wanted for name in _NAMES], device=device) for wanted in ("SG", "C", "N"))
    return AtomKinds(radius, *flags)


@cache
def _within(kind: str, device: torch.device) -> tuple[Rows, Tensor]:
    """Terms of each kind of residue, padded to the one with the most [kinds, M, …], and which are real [kinds, M]."""
    found = [geometry()[letter][kind] for letter in _LETTERS]
    shape, size = (len(found), max(map(len, found))), len(found[0][0]) - 2
    slots = torch.zeros(*shape, size, dtype=torch.long)
    mean, std = torch.zeros(2, *shape, dtype=torch.float64)
    for k, (letter, rows) in enumerate(zip(_LETTERS, found)):
        for m, (*names, middle, spread) in enumerate(rows):
            slots[k, m] = torch.tensor([RESIDUE_ATOMS[letter].index(name) for name in names])
            mean[k, m], std[k, m] = middle, max(spread, FLOORS[kind])
    real = torch.arange(shape[1]) < torch.tensor([[len(rows)] for rows in found])
    return Rows(*(each.to(device) for each in (slots, mean, std))), real.to(device)


@cache
def _between(device: torch.device) -> tuple[tuple[Tensor, Tensor], Rows]:
    """Atoms of the bond of a link and its lengths [any or proline, 2]; atoms of its angles, their means and spreads."""
    following = {name: k + MAX_RESIDUE_ATOMS for k, name in enumerate(BACKBONE)}
    bond = torch.tensor([BACKBONE.index("C"), following["N"]], device=device)
    angles = [[*map(BACKBONE.index, a), *(following[n] for n in b)] for a, b, *_ in PEPTIDE_COSINES]
    cosines = torch.tensor([row[2:] for row in PEPTIDE_COSINES], dtype=torch.float64, device=device)
    length = torch.tensor(PEPTIDE_LENGTH, dtype=torch.float64, device=device)
    return (bond, length), Rows(torch.tensor(angles, device=device), *cosines.unbind(1))
