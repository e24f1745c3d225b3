"""Heavy atoms of the twenty amino acids, their tokens, and the modified residues that stand for one of them."""

from __future__ import annotations

from typing import Literal

AtomSet = Literal["backbone", "heavy"]

BACKBONE = ("N", "CA", "C")
UNKNOWN = "X"  #: letter of a residue that is none of the twenty and has no parent here

#: Three-letter name and side chain beyond N, CA, C, O of each amino acid.
_AMINO_ACIDS = {
    "A": ("ALA", "CB"),
    "R": ("ARG", "CB CG CD NE CZ NH1 NH2"),
    "N": ("ASN", "CB CG OD1 ND2"),
    "D": ("ASP", "CB CG OD1 OD2"),
    "C": ("CYS", "CB SG"),
    "Q": ("GLN", "CB CG CD OE1 NE2"),
    "E": ("GLU", "CB CG CD OE1 OE2"),
    "G": ("GLY", ""),
    "H": ("HIS", "CB CG ND1 CD2 CE1 NE2"),
    "I": ("ILE", "CB CG1 CG2 CD1"),
    "L": ("LEU", "CB CG CD1 CD2"),
    "K": ("LYS", "CB CG CD CE NZ"),
    "M": ("MET", "CB CG SD CE"),
    "F": ("PHE", "CB CG CD1 CD2 CE1 CE2 CZ"),
    "P": ("PRO", "CB CG CD"),
    "S": ("SER", "CB OG"),
    "T": ("THR", "CB OG1 CG2"),
    "W": ("TRP", "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2"),
    "Y": ("TYR", "CB CG CD1 CD2 CE1 CE2 CZ OH"),
    "V": ("VAL", "CB CG1 CG2"),
    UNKNOWN: ("UNK", "CB"),
}

#: Heavy atoms of each residue by its letter, backbone first.
RESIDUE_ATOMS = {letter: (*BACKBONE, "O", *side.split()) for letter, (_, side) in _AMINO_ACIDS.items()}
LETTER_TO_NAME = {letter: name for letter, (name, _) in _AMINO_ACIDS.items()}
NAME_TO_LETTER = {name: letter for letter, name in LETTER_TO_NAME.items()}

#: Modified residues and names of force fields, by the amino acid that they were made from.
MODIFIED = {
    name: letter
    for letter, names in {
        "M": "MSE FME MHO",
        "S": "SEP SAC",
        "T": "TPO",
        "Y": "PTR TYS",
        "C": "CSO CME OCS CSD CSX CAS SMC YCM CYX CYM CSS",
        "P": "HYP",
        "K": "MLY M3L MLZ KCX ALY LLP LYN PYL",
        "R": "ARN AGM",
        "H": "HSD HSE HSP HID HIE HIP NEP MHS HIC",
        "D": "ASH BFD PHD",
        "E": "GLH CGU PCA",
        "N": "MEN",
    }.items()
    for name in names.split()
}
#: Atoms of modified residues that take the place of another atom.
RENAMED = {("MSE", "SE"): "SD"}

WATER = frozenset({"HOH", "WAT", "DOD", "H2O", "SOL", "TIP", "TIP3", "TP3"})

_HEAVY = tuple((letter, atom) for letter, atoms in RESIDUE_ATOMS.items() for atom in atoms)
_HEAVY_TOKEN = {pair: token for token, pair in enumerate(_HEAVY)}
_ATOMIC_NUMBERS = {"C": 6, "N": 7, "O": 8, "S": 16}


def num_tokens(atoms: AtomSet) -> int:
    """Return how many kinds of atoms there are: 3 for the backbone, or every atom of every amino acid.

    Example:
        >>> num_tokens("backbone"), num_tokens("heavy")
        (3, 172)
    """
    return len(BACKBONE) if check_atom_set(atoms) == "backbone" else len(_HEAVY)


def atom_token(letter: str, atom: str, atoms: AtomSet) -> int | None:
    """Return the token of an atom, None if it is not one of the set.

    Args:
        letter: of the residue.
        atom: name of the atom.
        atoms: "backbone" tells N, CA and C apart; "heavy" each atom of each residue.

    Example:
        >>> atom_token("G", "CA", "backbone"), atom_token("G", "CB", "heavy"), atom_token("A", "CB", "heavy")
        (1, None, 4)
    """
    if atoms == "backbone":
        return BACKBONE.index(atom) if atom in BACKBONE else None
    return _HEAVY_TOKEN.get((letter, atom))


def atomic_number(atom: str) -> int:
    """Return the atomic number of a heavy atom of an amino acid, which its name begins with."""
    return _ATOMIC_NUMBERS[atom[0]]


def check_letters(letters: str) -> None:
    """Check that every letter is one of a residue.

    Raises:
        ValueError: for the first that is not, telling which and where.

    Example:
        >>> check_letters("GAB")
        Traceback (most recent call last):
        ...
        ValueError: residue 3 is 'B', expected one of ARNDCQEGHILKMFPSTWYVX
    """
    for place, letter in enumerate(letters, 1):
        if letter not in RESIDUE_ATOMS:
            raise ValueError(f"residue {place} is {letter!r}, expected one of {''.join(RESIDUE_ATOMS)}")


def check_atom_set(atoms: str) -> AtomSet:
    """Return the name of a set of atoms.

    Raises:
        ValueError: if there is no such set.
    """
    if atoms not in ("backbone", "heavy"):
        raise ValueError(f"atoms must be 'backbone' (N, CA, C) or 'heavy' (all but hydrogen), got {atoms!r}")
    return atoms  # type: ignore[return-value]
