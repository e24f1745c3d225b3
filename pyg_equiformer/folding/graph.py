"""Proteins as graphs of rigid groups: from sequences or structures, and who attends to whom."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_edges import sequence_neighbors
from ..neighbors import knn_graph, radius_graph
from .coarse_grain import coarse_grain
from .templates import Templates, chain_groups

#: Positions in the sequence between chains of one protein: no peptide link joins them.
APART = 10
FAR = 32  #: residues along a chain up to which the distance is told
NUM_EDGE_TYPES = 2 * FAR + 3  #: −32 … 32, further, another chain


def sequence_data(chains: str | Sequence[tuple[str, str]], name: str = "protein") -> Data:
    """Return the groups of one or several chains of a protein, without places.

    Args:
        chains: letters of one chain, or name and letters of each, such as `[("H", "EVQ…"), ("L", "DIQ…")]`.
        name: of the protein.

    Shapes:
        For G groups and L residues: `group_type`, `residue`, `group_place` (position in the sequence of its chain) and
        `group_chain`, all [G]; `seq_pos` [L], further on between chains; `sequence` of all chains, `chain_names`,
        `chain_lengths`.

    Raises:
        ValueError: for no chains, empty chains, chains of one name, or a letter that is none of a residue.

    Example:
        >>> data = sequence_data([("H", "GA"), ("L", "S")])
        >>> data.residue.tolist(), data.group_chain.tolist()
        ([0, 0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1, 1])
    """
    named = [("A", chains)] if isinstance(chains, str) else list(chains)
    names = [chain for chain, _ in named]
    if not named or not all(letters for _, letters in named):
        raise ValueError(f"{name}: expected at least one residue in each chain, got {named or 'no chain'}")
    if len(set(names)) < len(names):
        raise ValueError(f"{name}: expected chains of different names, got {', '.join(names)}")
    parts = []
    for chain, letters in named:
        try:
            group_type, residue = chain_groups(letters)
        except ValueError as error:
            raise ValueError(f"{name}, chain {chain}: {error}") from None
        parts.append(Data(group_type=group_type, residue=residue, seq_pos=torch.arange(len(letters))))
    return _joined(parts, [letters for _, letters in named], names, name)


def structure_data(chains: Sequence[Data], templates: Templates, name: str | None = None) -> Data:
    """Return the groups of the chains of a protein with their true places, to train on or to compare with.

    Args:
        chains: as `read_protein_chains(…, atoms="heavy")` gives them.
        templates: shapes of the groups.
        name: of the protein. None: that of the first chain's entry.

    Shapes:
        as `sequence_data`, and what `coarse_grain` gives: `rotation`, `origin`, `known`, `pos_true`, `true_mask`.

    Raises:
        ValueError: if there are no chains.
    """
    if not chains:
        raise ValueError("expected the chains of a protein, got none")
    parts = [coarse_grain(chain, templates) for chain in chains]
    letters = [chain.sequence for chain in chains]
    names = [chain.chain for chain in chains]
    if name is None:
        name = chains[0].name if len(chains) == 1 else chains[0].entry.rpartition(":")[2]
    data = _joined(parts, letters, names, name)
    for key in ("rotation", "origin", "known", "pos_true", "true_mask"):
        data[key] = torch.cat([part[key] for part in parts])
    return data


def _joined(parts: list[Data], letters: list[str], names: list[str], name: str) -> Data:
    lengths = [len(each) for each in letters]
    starts = torch.tensor([0, *lengths]).cumsum(0)
    seq_pos, first = [], 0
    for part in parts:
        seq_pos.append(part.seq_pos - part.seq_pos.min() + first)
        first = int(seq_pos[-1].max()) + APART
    return Data(
        group_type=torch.cat([part.group_type for part in parts]),
        residue=torch.cat([part.residue + starts[k] for k, part in enumerate(parts)]),
        group_place=torch.cat([part.seq_pos[part.residue] for part in parts]),
        group_chain=torch.cat([torch.full_like(part.residue, k) for k, part in enumerate(parts)]),
        seq_pos=torch.cat(seq_pos),
        num_residues=sum(lengths),
        sequence="".join(letters),
        chain_names=tuple(names),
        chain_lengths=tuple(lengths),
        name=name,
        num_nodes=sum(len(part.group_type) for part in parts),
    )


def fold_edges(
    origin: Tensor,
    place: Tensor,
    chain: Tensor,
    batch: Tensor,
    *,
    cutoff: float,
    num_neighbors: int | None,
    reach: int,
) -> tuple[Tensor, Tensor]:
    r"""Return who attends to whom: groups that are near in space, and those near along the chain.

    .. math:: t_{ij} = \mathrm{clamp}(p_j - p_i, -32, 32) + 32, \quad 65 \text{ if further}, \quad
        66 \text{ in another chain}

    Args:
        origin: of the groups [G, 3] in Å.
        place: position p of each group in the sequence of its chain [G].
        chain: of each group [G].
        batch: protein of each group [G].
        cutoff: in Å, where `num_neighbors` is None.
        num_neighbors: nearest groups that each sees; None: all within the cutoff.
        reach: residues along the chain.

    Shapes:
        → `edge_index` [2, E], sorted by target, and `edge_type` [E]; E grows in proportion to G, unless all within the
        cutoff are taken.

    Example:
        >>> origin, place = torch.zeros(3, 3), torch.arange(3)
        >>> zero = torch.zeros(3, dtype=torch.long)
        >>> fold_edges(origin, place, zero, zero, cutoff=1.0, num_neighbors=1, reach=1)[1].tolist()
        [33, 31, 33, 30, 31]
    """
    with torch.no_grad():
        near = radius_graph(origin, cutoff, batch) if num_neighbors is None else knn_graph(origin, num_neighbors, batch)
        code = batch * (int(chain.max()) + 1) + chain
        pairs = torch.cat([near, sequence_neighbors(place, code, reach)], dim=1)
        count = len(place)
        index = torch.unique(pairs[1] * count + pairs[0])  # each once, sorted by target
        source, target = index % count, index // count
        offset = place[source] - place[target]
        kind = torch.where(offset.abs() <= FAR, offset + FAR, 2 * FAR + 1)
        kind = torch.where(chain[source] == chain[target], kind, 2 * FAR + 2)
        return torch.stack([source, target]), kind
