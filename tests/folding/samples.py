"""Made-up proteins with every amino acid, whose groups have shapes of their own."""

import torch
from torch_geometric.data import Data

from pyg_equiformer.data.protein_atoms import RESIDUE_ATOMS
from pyg_equiformer.folding import Frames, Templates, quaternion_to_matrix
from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS

LETTERS = "ARNDCEQGHILKMFPSTWYVX"


def templates(seed: int = 0) -> Templates:
    """Groups of random shapes, a few Å across."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.zeros(len(GROUPS), MAX_ATOMS, 3, dtype=torch.float64)
    for kind, group in enumerate(GROUPS):
        shape = 1.5 * torch.randn(len(group.atoms), 3, generator=generator, dtype=torch.float64)
        positions[kind, : len(group.atoms)] = shape - shape.mean(0)
    return Templates(positions, torch.ones(len(GROUPS), dtype=torch.long))


def frames(count: int, seed: int = 0) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    quaternion = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    origin = 5 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return Frames(quaternion_to_matrix(quaternion), origin)


def chain(letters: str = LETTERS, seed: int = 0) -> Data:
    """A chain with all heavy atoms at random places."""
    names = [(k, atom) for k, letter in enumerate(letters) for atom in RESIDUE_ATOMS[letter]]
    residue = torch.tensor([k for k, _ in names])
    generator = torch.Generator().manual_seed(seed)
    return Data(
        pos=3 * torch.randn(len(names), 3, generator=generator, dtype=torch.float64),
        residue=residue,
        seq_pos=residue.clone(),
        sequence=letters,
        atom_names=tuple(atom for _, atom in names),
        name="made up",
        entry="file:made up",
        chain="A",
    )


def moved(x: Frames, by: Frames) -> Frames:
    """All frames after one motion."""
    return by.compose(x)
