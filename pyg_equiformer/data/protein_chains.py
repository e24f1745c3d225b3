"""Chains of proteins from PDB, mmCIF and `.npz` files, as graphs without edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data

from .. import keys
from .protein_atoms import RESIDUE_ATOMS, AtomSet, atom_token, atomic_number, check_atom_set
from .protein_files import SUFFIXES, read_tables
from .protein_residues import Residue, chains_of

GAP = 2  #: positions in the sequence between residues that are not bonded, where their numbers do not tell more


class ProteinChains(NamedTuple):
    """Chains, and what was seen in reading them.

    Args:
        chains: one `Data` per chain, see `read_protein_chains`.
        tally: how many of what were left out or changed.
    """

    chains: list[Data]
    tally: Counter[str]


def read_protein_chains(
    paths: str | Path | Sequence[str | Path],
    atoms: AtomSet = "backbone",
    progress: Callable[[int, int], None] | None = None,
) -> ProteinChains:
    """Read the protein chains of files, and of all such files in folders.

    The first of several models is read, and of alternate locations of a residue the one with the highest occupancy.
    Residues with an insertion code are residues of their own. Modified residues such as selenomethionine (MSE) are read
    as the amino acid they were made from, without the atoms that it does not have; others in a chain are kept as X,
    with N, CA, C, O and CB. Skipped are residues without a complete backbone, atoms whose coordinates are not finite
    (NaN), hydrogen, water, ligands and nucleic acids. All of it is counted in the tally.

    Args:
        paths: files that end in .pdb, .ent, .cif or .mmcif, perhaps with .gz, or in .npz (with the arrays `name`,
            `offset`, `seq`, `chain`, `atom14_mask` and `coords_mA`), or folders of them.
        atoms: "backbone" for N, CA and C, or "heavy" for all but hydrogen.
        progress: called with how many files are read, and how many there are.

    Shapes:
        Each chain has `z` [N], `pos` [N, 3] in Å, `atom_type` [N] (see `atom_token`), `residue` [N], which counts the
        residues from 0, `seq_pos` [N], their position in the sequence: the next for a bonded residue, further on after
        a gap; and as text `name` (of the entry and the chain), `entry`, `chain`, `sequence`, `residue_ids` (numbers
        with insertion codes) and `atom_names`.

    Raises:
        ValueError: for files that are truncated or something else, with the line where it is known, for folders without
            such files, and if there is no chain at all.
        FileNotFoundError: for paths that do not exist.
        ImportError: if biotite is not installed, unless all files are `.npz`.

    Example:
        >>> import tempfile
        >>> row = "ATOM  {:5d}  {:<3} GLY A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           {}  "
        >>> atoms = [("N", -0.5, 1.4, 0.0), ("CA", 0.0, 0.0, 0.0), ("C", 1.5, 0.0, 0.0)]
        >>> lines = [row.format(i, name, *pos, name[0]) for i, (name, *pos) in enumerate(atoms, 1)]
        >>> file = Path(tempfile.mkdtemp()) / "one.pdb"
        >>> _ = file.write_text("\\n".join([*lines, "END"]) + "\\n")
        >>> chain = read_protein_chains(file).chains[0]
        >>> chain.name, chain.sequence, chain.z.tolist()
        ('one_A', 'G', [7, 6, 6])
    """
    check_atom_set(atoms)
    tally: Counter[str] = Counter()
    files = _files([paths] if isinstance(paths, (str, Path)) else paths, tally)
    chains = []
    for done, file in enumerate(files, 1):
        for table in read_tables(file, tally):
            found = chains_of(table, tally)
            entry = f"{file.resolve()}:{table.name}"
            chains += [_data(table.name, entry, name, residues, atoms, tally) for name, residues in found.items()]
        if progress:
            progress(done, len(files))
    tally = Counter({what: count for what, count in tally.items() if count})
    if not chains:
        told = "; ".join(f"{count} {what}" for what, count in tally.items())
        raise ValueError(
            f"{', '.join(map(str, files[:3]))}: expected protein chains with N, CA and C of each residue, found none"
            + (f" ({told})" if told else "")
        )
    _distinct_names(chains)
    return ProteinChains(chains, tally)


def _files(paths: Sequence[str | Path], tally: Counter[str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
        found = [entry for entry in entries if entry.is_file() and entry.name.lower().endswith(SUFFIXES)]
        if not found:
            raise ValueError(f"{path}: the folder has no protein files, expected some of {', '.join(SUFFIXES)}")
        tally["entries of folders that are no protein files left out"] += len(entries) - len(found)
        files += found
    if not files:
        raise ValueError("expected files of proteins or folders of them, got none")
    distinct = list({file.resolve(): file for file in files}.values())
    tally["files given twice read once"] += len(files) - len(distinct)
    return distinct


def _data(name: str, entry: str, chain: str, residues: list[Residue], atoms: AtomSet, tally: Counter[str]) -> Data:
    rows = [
        (k, atom, residue.atoms[atom], token)
        for k, residue in enumerate(residues)
        for atom in RESIDUE_ATOMS[residue.letter]
        if atom in residue.atoms and (token := atom_token(residue.letter, atom, atoms)) is not None
    ]
    if atoms == "heavy":
        expected = sum(len(RESIDUE_ATOMS[residue.letter]) for residue in residues)
        tally["heavy atoms that the files do not have"] += expected - len(rows)
    residue = torch.tensor([k for k, *_ in rows])
    return Data(
        **{
            keys.Z: torch.tensor([atomic_number(atom) for _, atom, _, _ in rows]),
            keys.POS: torch.from_numpy(np.array([pos for _, _, pos, _ in rows])).to(torch.get_default_dtype()),
        },
        atom_type=torch.tensor([token for *_, token in rows]),
        residue=residue,
        seq_pos=torch.tensor(_positions_in_sequence(residues))[residue],
        name=f"{name}_{chain.strip() or 'blank'}",
        entry=entry,
        chain=chain,
        sequence="".join(r.letter for r in residues),
        residue_ids=tuple(f"{r.number}{r.insertion_code}" for r in residues),
        atom_names=tuple(atom for _, atom, _, _ in rows),
    )


def _positions_in_sequence(residues: list[Residue]) -> list[int]:
    """Count residues along the chain, further on where it is broken: by the numbers of the file, if they tell."""
    positions = [0]
    for before, after in pairwise(residues):
        step = 1 if before.bonded_to(after) else max(GAP, after.number - before.number)
        positions.append(positions[-1] + step)
    return positions


def _distinct_names(chains: list[Data]) -> None:
    """Number the chains that would have the name of another: they name files later."""
    seen: Counter[str] = Counter()
    for chain in chains:
        seen[chain.name] += 1
        if seen[chain.name] > 1:
            chain.name = f"{chain.name}-{seen[chain.name]}"
