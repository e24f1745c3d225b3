"""Structures of sequences, from a trained `EquiFold`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.sequence_files import SequenceRecord
from .coarse_grain import all_atoms
from .equifold import EquiFold, Folded
from .graph import sequence_data


@dataclass(frozen=True)
class Prediction:
    """A folded protein.

    Args:
        name: of the protein.
        chains: with all heavy atoms, as `write_chains` takes them.
        confidence: expected lDDT of the Cα of each residue of each chain, 0 to 100.
        folded: what the model gave.
    """

    name: str
    chains: list[Data]
    confidence: list[Tensor]
    folded: Folded

    @property
    def mean_confidence(self) -> float:
        """Mean over all residues."""
        return float(torch.cat(self.confidence).mean())


def fold_sequences(
    model: EquiFold,
    records: Sequence[SequenceRecord],
    *,
    starts: int = 1,
    seed: int = 0,
    recycles: int | None = None,
) -> Iterator[Prediction]:
    """Fold proteins, one after the other.

    Args:
        model: a trained model.
        records: names and chains, see `read_sequences`.
        starts: random starts for each protein; the structure that the model is most confident of is kept.
        seed: of the starts, the same for every protein, whichever are before it.
        recycles: see `EquiFold`. None: as the model was trained.

    Raises:
        ValueError: for less than one start.

    Example:
        >>> from pyg_equiformer.folding import Templates
        >>> from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
        >>> templates = Templates(torch.randn(len(GROUPS), MAX_ATOMS, 3), torch.ones(len(GROUPS)))
        >>> model = EquiFold.from_preset("small", templates).eval()
        >>> (found,) = fold_sequences(model, [SequenceRecord("two", (("H", "MKT"), ("L", "GA")))])
        >>> [chain.chain for chain in found.chains], [len(c) for c in found.confidence]
        (['H', 'L'], [3, 2])
    """
    if starts < 1:
        raise ValueError(f"starts: expected at least 1, got {starts}")
    for record in records:
        data = sequence_data(record.chains, record.name)
        folded = best_of(model, data, starts=starts, seed=seed, recycles=recycles)
        lengths = [len(letters) for _, letters in record.chains]
        yield Prediction(record.name, folded_chains(folded, data, model), [*folded.confidence.split(lengths)], folded)


@torch.no_grad()
def best_of(model: EquiFold, data: Data, *, starts: int = 1, seed: int = 0, recycles: int | None = None) -> Folded:
    """Return the structure of one protein that the model is most confident of, out of several starts, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    data = data.clone().to(model.shapes.device)
    best: Folded | None = None
    for _ in range(starts):
        folded = model(data, model.start(len(data.group_type), generator), recycles=recycles)
        if best is None or float(folded.confidence.mean()) > float(best.confidence.mean()):
            best = folded
    assert best is not None  # there is at least one start
    return best.cpu()


def folded_chains(folded: Folded, data: Data, model: EquiFold) -> list[Data]:
    """Return the chains of one folded protein, on the CPU, with all heavy atoms."""
    chains, first = [], 0
    for k, (name, length) in enumerate(zip(data.chain_names, data.chain_lengths)):
        frames = folded.frames[data.group_chain == k]
        chain = all_atoms(frames, data.sequence[first : first + length], model.templates)
        chain.chain, chain.name, chain.entry = name, f"{data.name}_{name}", data.name
        chains.append(chain)
        first += length
    return chains
