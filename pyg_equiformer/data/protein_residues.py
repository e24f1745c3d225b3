"""From the atoms of an entry to the residues of its chains: what is protein, which location, which atoms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .protein_atoms import BACKBONE, MODIFIED, NAME_TO_LETTER, RENAMED, RESIDUE_ATOMS, UNKNOWN, WATER
from .protein_files import AtomTable

PEPTIDE_BOND = 2.0  #: Å; C and the next N are 1.33 Å apart where they are bonded


@dataclass(frozen=True)
class Residue:
    """One residue with a complete backbone.

    Args:
        letter: of the amino acid, or of the parent of a modified one; "X" where there is none.
        name: three letters, as in the file.
        number, insertion_code: as in the file.
        hetero: whether the file has it as no standard part of a polymer.
        atoms: positions [3] in Å of its heavy atoms by their names.
    """

    letter: str
    name: str
    number: int
    insertion_code: str
    hetero: bool
    atoms: dict[str, np.ndarray]

    def bonded_to(self, following: Residue) -> bool:
        """Whether the peptide bond to the residue that follows is there."""
        return bool(np.linalg.norm(self.atoms["C"] - following.atoms["N"]) < PEPTIDE_BOND)


def chains_of(table: AtomTable, tally: Counter[str]) -> dict[str, list[Residue]]:
    """Return the residues of each chain of an entry, in the order of the file; chains without any are counted.

    Args:
        table: atoms of the entry.
        tally: what was left out is added to it.
    """
    chains: dict[str, list[Residue]] = {str(name): [] for name in dict.fromkeys(table.chain.tolist())}
    for rows in _residue_rows(table):
        residue = _residue(table, rows, tally)
        if residue is not None:
            chains[str(table.chain[rows[0]])].append(residue)
    for name, residues in chains.items():
        chains[name] = _in_polymer(residues, tally)
    tally["chains without residues of a protein left out"] += sum(not residues for residues in chains.values())
    return {name: residues for name, residues in chains.items() if residues}


def _residue_rows(table: AtomTable) -> list[np.ndarray]:
    """Rows of each residue; an insertion code makes another residue, another name at the same place does not.

    Some programs write the alternate locations of a whole chain one after the other: atoms that stand apart from their
    residue belong to it if all of them are locations that it does not have yet.
    """
    found: list[np.ndarray] = []
    place_of: dict[tuple[str, int, str], int] = {}
    for rows in _blocks(table):
        first = rows[0]
        place = str(table.chain[first]), int(table.residue_number[first]), str(table.insertion_code[first])
        known = place_of.get(place, -1)
        apart = known >= 0 and not _is_single(table.altloc[rows]).any()
        if apart and _locations(table, rows).isdisjoint(_locations(table, found[known])):
            found[known] = np.concatenate([found[known], rows])
            continue
        if table.residue_name[first] not in WATER:
            place_of[place] = len(found)
        found.append(rows)
    return found


def _is_single(altloc: np.ndarray) -> np.ndarray:
    """Whether atoms have no alternate location [n]."""
    return np.isin(altloc, [".", "?", " ", ""])


def _locations(table: AtomTable, rows: np.ndarray) -> set[tuple[str, str]]:
    return set(zip(table.atom_name[rows].tolist(), table.altloc[rows].tolist()))


def _blocks(table: AtomTable) -> Iterator[np.ndarray]:
    """Rows that follow each other and belong to one residue."""
    if not len(table.pos):
        return
    keys = (table.chain, table.residue_number, table.insertion_code)
    starts = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    # Waters and ions may share a number with what stands before them: another record is another residue.
    water = np.isin(table.residue_name, list(WATER))
    starts |= water[1:] != water[:-1]
    yield from np.split(np.arange(len(table.pos)), np.flatnonzero(starts) + 1)


def _residue(table: AtomTable, rows: np.ndarray, tally: Counter[str]) -> Residue | None:
    if table.residue_name[rows[0]] in WATER:
        tally["waters left out"] += 1
        return None
    rows = _one_location(table, rows, tally)
    name, hetero = str(table.residue_name[rows[0]]), bool(table.hetero[rows[0]])
    letter = NAME_TO_LETTER.get(name) or MODIFIED.get(name) or UNKNOWN
    atoms = _atoms(table, rows, name, letter, tally)
    if not all(atom in atoms for atom in BACKBONE):
        if letter != UNKNOWN or ("CA" in atoms and not hetero):
            tally["residues without a complete backbone (N, CA, C) skipped"] += 1
        else:
            tally["ligands, ions and nucleotides left out"] += 1
        return None
    number, code = int(table.residue_number[rows[0]]), str(table.insertion_code[rows[0]]).strip()
    return Residue(letter, name, number, code, hetero and name not in MODIFIED, atoms)


def _one_location(table: AtomTable, rows: np.ndarray, tally: Counter[str]) -> np.ndarray:
    """Keep atoms without alternate locations, and of those the location with the highest mean occupancy."""
    location, names = table.altloc[rows], table.residue_name[rows]
    several = ~_is_single(location)
    kept = rows
    if several.any():
        mean = {
            where: float(table.occupancy[rows[location == where]].mean())
            for where in dict.fromkeys(location[several].tolist())
        }
        best = max(mean, key=lambda where: mean[where])  # the first of equal ones
        kept = rows[~several | (location == best)]
        tally["atoms at alternate locations of lower occupancy left out"] += len(rows) - len(kept)
        names = table.residue_name[rows[location == best]]
    same = table.residue_name[kept] == names[0]
    tally["atoms of another residue at the same place left out"] += int((~same).sum())
    return kept[same]


def _atoms(table: AtomTable, rows: np.ndarray, name: str, letter: str, tally: Counter[str]) -> dict[str, np.ndarray]:
    """Positions of the heavy atoms that the amino acid has; what else there is, is counted."""
    atoms: dict[str, np.ndarray] = {}
    protein = letter != UNKNOWN or "CA" in table.atom_name[rows]
    for row in rows:
        given = str(table.atom_name[row])
        atom = RENAMED.get((name, given), given)
        if str(table.element[row]).upper() in ("H", "D") or atom[:1] in ("H", "D"):
            tally["hydrogen atoms left out"] += protein
        elif not np.isfinite(table.pos[row]).all():
            tally["atoms whose coordinates are not finite left out"] += 1
        elif atom in atoms:
            tally["atoms named twice in a residue left out"] += 1
        elif atom in RESIDUE_ATOMS[letter]:
            atoms[atom] = table.pos[row]
        elif atom == "OXT":
            tally["terminal oxygens (OXT) left out"] += 1
        elif all(b in table.atom_name[rows] for b in BACKBONE):
            tally["atoms that the amino acid does not have left out"] += 1
    return atoms


def _in_polymer(residues: list[Residue], tally: Counter[str]) -> list[Residue]:
    """Leave out amino acids that are ligands: hetero residues without a peptide bond to a neighbour."""
    kept = []
    for k, residue in enumerate(residues):
        before = k > 0 and residues[k - 1].bonded_to(residue)
        if residue.hetero and not before and not (k + 1 < len(residues) and residue.bonded_to(residues[k + 1])):
            tally["ligands, ions and nucleotides left out"] += 1
            continue
        if residue.name in MODIFIED:
            tally["modified residues read as the amino acid they were made from"] += 1
        elif residue.letter == UNKNOWN:
            tally["residues that are no known amino acid, kept as X"] += 1
        kept.append(residue)
    return kept
