"""Protein chains as PDB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor
from torch_geometric.data import Data

from .protein_atoms import LETTER_TO_NAME


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
    try:
        from biotite.structure import AtomArray
        from biotite.structure.io.pdb import PDBFile
    except ImportError as error:
        raise ImportError('writing PDB files needs biotite: pip install "pyg_equiformer[pdb]"') from error
    pos = chain.pos if pos is None else pos
    if pos.shape != chain.pos.shape:
        raise ValueError(f"expected positions {list(chain.pos.shape)} in Å, got {list(pos.shape)}")
    if not bool(((pos > -1000 + 5e-4) & (pos < 10_000 - 5e-4)).all()):
        ends = f"{float(pos.min()):g} to {float(pos.max()):g}"
        raise ValueError(f"{path}: expected positions between -999.999 and 9999.999 Å for a PDB file, got {ends}")
    residue = chain.residue.numpy()
    codes = [number.lstrip("-0123456789") for number in chain.residue_ids]
    numbers = [int(number[: len(number) - len(code)]) for number, code in zip(chain.residue_ids, codes)]
    atoms = AtomArray(len(pos))
    atoms.coord = pos.detach().cpu().numpy().astype(np.float32)
    atoms.chain_id[:] = chain.chain[:1]
    atoms.res_id = np.array(numbers)[residue]
    atoms.ins_code = np.array(codes)[residue]
    atoms.res_name = np.array([LETTER_TO_NAME[letter] for letter in chain.sequence])[residue]
    atoms.atom_name = np.array(chain.atom_names)
    atoms.element = np.array([name[0] for name in chain.atom_names])
    file = PDBFile()
    file.set_structure(atoms, hybrid36=max(numbers) > 9_999 or len(pos) > 99_999)
    file.lines.append("END")
    file.write(str(path))
