"""Between heavy atoms and rigid frames, in both directions."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from .. import keys
from ..data.protein_atoms import RESIDUE_ATOMS, atom_token, atomic_number
from .frames import Frames, fit_frames
from .groups import MAX_RESIDUE_ATOMS, group_slots
from .templates import Templates, chain_groups, gather_groups, group_mask, residue_atoms


def coarse_grain(chain: Data, templates: Templates) -> Data:
    r"""Return a chain as rigid frames, one per group, fitted to its heavy atoms.

    .. math:: R_g, T_g = \arg\min \sum_{a \in g} \left| R\, t_a + T - x_a \right|^2

    Args:
        chain: as `read_protein_chains(…, atoms="heavy")` gives it.
        templates: shapes t of the groups, see `fit_templates`.

    Shapes:
        The result has for its G groups `group_type` [G], `residue` [G], `rotation` [G, 3, 3], `origin` [G, 3] in Å and
        `known` [G]: False where fewer than three atoms are there, and the frame means nothing; for its L residues
        `seq_pos` [L]; `pos_true` [G, MAX_ATOMS, 3] and `true_mask`, the atoms that are there; and the chain's texts.

    Raises:
        ValueError: for data without the fields of such a chain.
    """
    atoms = residue_atoms(chain)
    group_type, residue = chain_groups(chain.sequence)
    pos, there = gather_groups(*atoms, group_type, residue)
    shapes = templates.to(pos).positions[group_type]
    frames = fit_frames(shapes, pos, there)
    known = there.sum(1) >= 3
    seq_pos = torch.zeros(len(chain.sequence), dtype=torch.long)
    seq_pos[chain.residue] = chain.seq_pos
    texts = {name: chain[name] for name in ("name", "entry", "chain", "sequence", "residue_ids") if name in chain}
    return Data(
        group_type=group_type,
        residue=residue,
        rotation=torch.where(known[:, None, None], frames.rotation, torch.eye(3, dtype=pos.dtype)),
        origin=torch.where(known[:, None], frames.origin, torch.zeros(3, dtype=pos.dtype)),
        known=known,
        pos_true=pos,
        true_mask=there,
        seq_pos=seq_pos,
        num_nodes=len(group_type),
        **texts,
    )


def group_atoms(frames: Frames, group_type: Tensor, templates: Templates) -> Tensor:
    """Return where the atoms of each group are [G, MAX_ATOMS, 3] in Å; places without an atom are at the origin."""
    return frames.apply(templates.to(frames.origin).positions[group_type])


def residue_positions(
    atoms: Tensor, group_type: Tensor, residue: Tensor, num_residues: int, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean place of each heavy atom over the groups that share it, and which atoms there are.

    Args:
        atoms: [G, MAX_ATOMS, 3] in Å, see `group_atoms`.
        group_type, residue: of each group [G].
        num_residues: L.
        known: groups that count [G]. None: all.

    Shapes:
        → [L, MAX_RESIDUE_ATOMS, 3], [L, MAX_RESIDUE_ATOMS]
    """
    slots, mask = group_slots().to(atoms.device)[group_type], group_mask().to(atoms.device)[group_type]
    mask = mask if known is None else mask & known.unsqueeze(1)
    index = (residue.unsqueeze(1) * MAX_RESIDUE_ATOMS + slots)[mask]
    size = num_residues * MAX_RESIDUE_ATOMS
    chosen = atoms[mask]
    count = chosen.new_zeros(size).index_add(0, index, torch.ones_like(chosen[:, 0]))
    total = chosen.new_zeros(size, 3).index_add(0, index, chosen)
    mean = total / count.clamp(min=1).unsqueeze(1)
    return mean.view(num_residues, MAX_RESIDUE_ATOMS, 3), (count > 0).view(num_residues, MAX_RESIDUE_ATOMS)


def all_atoms(frames: Frames, sequence: str, templates: Templates) -> Data:
    """Return all heavy atoms of frames, as a chain that `write_chain` takes.

    Args:
        frames: one per group, in the order of `chain_groups(sequence)`.
        sequence: one letter per residue.
        templates: shapes of the groups.

    Raises:
        ValueError: if the number of frames is another than the sequence has groups, or it has an unknown letter.
    """
    group_type, residue = chain_groups(sequence)
    if frames.origin.shape != (len(group_type), 3):
        raise ValueError(f"{sequence!r} has {len(group_type)} groups, got frames of shape {tuple(frames.origin.shape)}")
    atoms = group_atoms(frames, group_type, templates)
    pos, there = residue_positions(atoms, group_type, residue, len(sequence))
    names = [(k, letter, atom) for k, letter in enumerate(sequence) for atom in RESIDUE_ATOMS[letter]]
    return Data(
        **{keys.Z: torch.tensor([atomic_number(atom) for *_, atom in names]), keys.POS: pos[there]},
        atom_type=torch.tensor([atom_token(letter, atom, "heavy") for _, letter, atom in names]),
        residue=torch.tensor([k for k, *_ in names]),
        seq_pos=torch.tensor([k for k, *_ in names]),
        name="chain_A",
        entry="",
        chain="A",
        sequence=sequence,
        residue_ids=tuple(str(k) for k in range(1, len(sequence) + 1)),
        atom_names=tuple(atom for *_, atom in names),
    )
