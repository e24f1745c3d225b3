"""Protein chains as PDB and mmCIF files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from .protein_atoms import LETTER_TO_NAME

if TYPE_CHECKING:
    from biotite.structure import AtomArray

WRITTEN = (".pdb", ".cif")
_NEEDS = 'writing protein files needs biotite: pip install "pyg_equiformer[pdb]"'
_BLANK = "?"  #: stands for the blank id of a chain
#: What the columns of PDB files have room for: the least, the most, the digits after the point, and the unit.
_PDB_ROOM = {"positions": (-999.999, 9999.999, 3, " Å"), "B-factors": (-99.99, 999.99, 2, "")}


def write_chain(path: str | Path, chain: Data, pos: Tensor | None = None) -> None:
    """Write a chain as a PDB file, with the residue numbers and insertion codes that it was read with.

    Modified residues have the names of the amino acids they were read as. The name of a chain has room for one letter:
    of longer ones, which mmCIF files have, the first is written. Numbers of residues from 10,000 on have letters
    (hybrid-36), as `read_protein_chains` understands them.

    Args:
        path: of the file.
        chain: as `read_protein_chains` gives it.
        pos: other positions [N, 3] in Å.

    Raises:
        ValueError: for positions of another shape, or that the columns of such a file have no room for.
        ImportError: if biotite is not installed.
    """
    atoms = _atoms(path, True, chain, chain.pos if pos is None else pos, None)
    atoms.chain_id[:] = chain.chain.strip()[:1]
    _write_pdb(path, atoms)


def write_chains(
    path: str | Path,
    chains: Sequence[Data],
    pos: Sequence[Tensor] | None = None,
    b_factor: Sequence[Tensor] | None = None,
) -> None:
    """Write the chains of an entry into one PDB or mmCIF file, with their ids, residue numbers and insertion codes.

    Modified residues have the names of the amino acids they were read as. In PDB files, numbers of residues from 10,000
    on have letters, as those of `write_chain`.

    Args:
        path: of the file, which ends in .pdb or .cif.
        chains: as `read_protein_chains` gives them, each with an id of its own; PDB files have room for one letter.
        pos: other positions of each chain [N, 3] in Å.
        b_factor: a number for each residue of each chain [L], such as a confidence between 0 and 100, which is written
            as the B-factor of its atoms. None: zero.

    Raises:
        ValueError: for another ending, ids that are alike or too long, shapes that do not fit the chains, and numbers
            that are not finite or have no room in the columns of a PDB file.
        ImportError: if biotite is not installed.

    Example:
        >>> import tempfile
        >>> glycine = {"sequence": "G", "residue_ids": ("1",), "atom_names": ("N", "CA", "C")}
        >>> pos = torch.tensor([[-0.5, 1.4, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
        >>> chains = [Data(pos=pos, residue=torch.zeros(3, dtype=torch.long), chain=id, **glycine) for id in "HL"]
        >>> file = Path(tempfile.mkdtemp()) / "two.pdb"
        >>> write_chains(file, chains, b_factor=[torch.tensor([87.5]), torch.tensor([62.0])])
        >>> print(file.read_text().splitlines()[-2][:66])
        ATOM      6  C   GLY L   1       1.500   0.000   0.000  1.00 62.00
    """
    path = Path(path)
    if path.suffix.lower() not in WRITTEN:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(WRITTEN)}")
    as_pdb = path.suffix.lower() == ".pdb"
    _check_ids(chains, as_pdb)
    for name, values in (("positions", pos), ("B-factors", b_factor)):
        if values is not None and len(values) != len(chains):
            raise ValueError(f"expected {name} of {len(chains)} chains, got those of {len(values)}")
    zeros = [torch.zeros(len(chain.sequence)) for chain in chains]
    places = [chain.pos for chain in chains] if pos is None else pos
    parts = [_atoms(path, as_pdb, *each) for each in zip(chains, places, zeros if b_factor is None else b_factor)]
    atoms = parts[0]
    for part in parts[1:]:
        atoms = atoms + part
    if as_pdb:
        _write_pdb(path, atoms)
    else:
        _write_cif(path, atoms)


def _check_ids(chains: Sequence[Data], as_pdb: bool) -> None:
    if not chains:
        raise ValueError("expected chains to write, got none")
    ids = [chain.chain.strip() for chain in chains]
    if len(set(ids)) < len(ids):
        raise ValueError(f"expected an id for each chain, got some twice: {', '.join(ids)}")
    if as_pdb and (long := [each for each in ids if len(each) > 1]):
        raise ValueError(
            f"PDB files have room for one letter of a chain's id, got {', '.join(long)}; write a .cif file"
        )


def _atoms(path: str | Path, as_pdb: bool, chain: Data, pos: Tensor, b_factor: Tensor | None) -> AtomArray:
    """Return the atoms of a chain, in single precision, with numbers that the file has room for."""
    try:
        from biotite.structure import AtomArray
    except ImportError as error:
        raise ImportError(_NEEDS) from error
    if pos.shape != chain.pos.shape:
        raise ValueError(f"expected positions {list(chain.pos.shape)} in Å, got {list(pos.shape)}")
    residue = chain.residue.cpu().numpy()
    codes = [number.lstrip("-0123456789") for number in chain.residue_ids]
    numbers = [int(number[: len(number) - len(code)]) for number, code in zip(chain.residue_ids, codes)]
    atoms = AtomArray(len(pos))
    atoms.coord = pos.detach().cpu().numpy().astype(np.float32)
    atoms.set_annotation("chain_id", np.full(len(pos), chain.chain.strip()))
    atoms.res_id = np.array(numbers)[residue]
    atoms.ins_code = np.array(codes)[residue]
    atoms.res_name = np.array([LETTER_TO_NAME[letter] for letter in chain.sequence])[residue]
    atoms.atom_name = np.array(chain.atom_names)
    atoms.element = np.array([name[0] for name in chain.atom_names])
    _check_room(path, as_pdb, chain.chain, "positions", atoms.coord)
    if b_factor is not None:
        if b_factor.shape != (len(chain.sequence),):
            raise ValueError(
                f"chain {chain.chain!r}: expected B-factors [{len(chain.sequence)}], got {list(b_factor.shape)}"
            )
        atoms.set_annotation("b_factor", b_factor.detach().cpu().double().numpy()[residue])
        _check_room(path, as_pdb, chain.chain, "B-factors", atoms.b_factor)
    return atoms


def _check_room(path: str | Path, as_pdb: bool, name: str, what: str, values: np.ndarray) -> None:
    """Refuse numbers of a chain that are not finite, or that the columns of a PDB file have no room for."""
    finite = bool(np.isfinite(values).all())
    if not as_pdb and not finite:
        raise ValueError(f"chain {name!r}: expected finite {what}, got NaN or infinity")
    low, high, digits, unit = _PDB_ROOM[what]
    written = values.astype(np.float64).round(digits)
    if as_pdb and not ((written >= low) & (written <= high)).all():
        raise ValueError(
            f"{path}: expected {what} between {low} and {high}{unit} for a PDB file, got {values.min():g} to "
            f"{values.max():g} in chain {name!r}" + ("; a .cif file has room for them" if finite else "")
        )


def _write_pdb(path: str | Path, atoms: AtomArray) -> None:
    from biotite.structure.io.pdb import PDBFile

    # biotite would leave out the column of a blank id: a sign that is no id takes its place.
    atoms.chain_id[atoms.chain_id == ""] = _BLANK
    # Its hybrid-36 refuses numbers below zero, which have no letters: they are set afterwards.
    numbers = atoms.res_id
    hybrid36 = bool((numbers > 9_999).any()) or len(atoms) > 99_999
    atoms.res_id = np.maximum(numbers, 0) if hybrid36 else numbers
    file = PDBFile()
    file.set_structure(atoms, hybrid36=hybrid36)
    for i, (line, number) in enumerate(zip(file.lines, numbers, strict=True)):
        columns = f"{number:4d}" if hybrid36 and number < 0 else line[22:26]
        file.lines[i] = line[:21] + line[21].replace(_BLANK, " ") + columns + line[26:]
    file.lines.append("END")
    file.write(str(path))


def _write_cif(path: Path, atoms: AtomArray) -> None:
    from biotite.structure.io.pdbx import CIFFile, set_structure

    # As many digits as PDB files have.
    atoms.coord = atoms.coord.round(3)
    atoms.b_factor = atoms.b_factor.round(2)
    atoms.set_annotation("occupancy", np.ones(len(atoms)))
    file = CIFFile()
    set_structure(file, atoms, data_block="_".join(path.stem.split()))
    file.write(str(path))
