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

    Example:
        >>> from pyg_equiformer.folding import random_frames
        >>> from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
        >>> made_up = Templates(torch.randn(len(GROUPS), MAX_ATOMS, 3), torch.ones(len(GROUPS)))  # see fit_templates
        >>> chain = all_atoms(random_frames(7, 5.0), "GAS", made_up)
        >>> graph = coarse_grain(chain, made_up)
        >>> graph.residue.tolist(), graph.rotation.shape, bool(graph.known.all())
        ([0, 0, 1, 1, 2, 2, 2], torch.Size([7, 3, 3]), True)
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
    """Return where the atoms of each group are; places without an atom are at the frame's origin.

    Args:
        frames: of the groups [G].
        group_type: of each group [G].
        templates: shapes of all kinds of groups.

    Shapes:
        → [G, MAX_ATOMS, 3] in Å

    Example:
        >>> from pyg_equiformer.folding import random_frames
        >>> from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
        >>> made_up = Templates(torch.randn(len(GROUPS), MAX_ATOMS, 3), torch.ones(len(GROUPS)))
        >>> group_type, _ = chain_groups("GA")
        >>> group_atoms(random_frames(4, 5.0), group_type, made_up).shape
        torch.Size([4, 9, 3])
    """
    return frames.apply(templates.to(frames.origin).positions[group_type])


def residue_positions(
    atoms: Tensor, group_type: Tensor, residue: Tensor, num_residues: int, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Return the mean place of each heavy atom over the groups that share it, and which atoms there are.

    .. math:: x_a = \frac{1}{|\{g \ni a\}|} \sum_{g \ni a} x_{g, a}

    as in EquiFold (bioRxiv 2022.10.07.511322).

    Args:
        atoms: of the groups [G, MAX_ATOMS, 3] in Å, see `group_atoms`.
        group_type, residue: of each group [G].
        num_residues: L.
        known: groups that count [G]. None: all.

    Shapes:
        → [L, MAX_RESIDUE_ATOMS, 3] in Å, zero where there is no atom; [L, MAX_RESIDUE_ATOMS]

    Raises:
        ValueError: if there are not as many types or residues as groups.

    Example:
        >>> from pyg_equiformer.folding.groups import MAX_ATOMS
        >>> group_type, residue = chain_groups("G")  # C, CA, N and C, CA, O
        >>> atoms = torch.zeros(2, MAX_ATOMS, 3)
        >>> atoms[1] = 1.0
        >>> pos, there = residue_positions(atoms, group_type, residue, 1)
        >>> pos[0, there[0], 0].tolist()  # N, CA, C, O
        [0.0, 0.5, 0.5, 1.0]
    """
    if not len(atoms) == len(group_type) == len(residue):
        raise ValueError(
            f"expected a type and a residue for each of {len(atoms)} groups, got {len(group_type)} and {len(residue)}"
        )
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

    Example:
        >>> from pyg_equiformer.folding import random_frames
        >>> from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
        >>> made_up = Templates(torch.randn(len(GROUPS), MAX_ATOMS, 3), torch.ones(len(GROUPS)))
        >>> all_atoms(random_frames(4, 5.0), "GA", made_up).atom_names
        ('N', 'CA', 'C', 'O', 'N', 'CA', 'C', 'O', 'CB')
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
