"""Splitting protein chains, so that no test chain is known from the training."""

import torch
from torch_geometric.data import Data


def split_chains(chains: list[Data], test: float, seed: int = 0) -> tuple[list[Data], list[Data]]:
    """Return chains to train on and chains to test with; chains of one entry or with one sequence stay together.

    Args:
        chains: as `read_protein_chains` gives them.
        test: fraction of the chains, below 1, or their number.
        seed: of the order in which groups of chains are drawn.

    Raises:
        ValueError: if either set would be empty, or the fraction is out of range.

    Example:
        >>> chains = [Data(entry=str(i), sequence="A" * (i // 2)) for i in range(6)]
        >>> [len(part) for part in split_chains(chains, test=2)]
        [4, 2]
    """
    if test <= 0 or (test >= 1 and test != int(test)):
        raise ValueError(f"the test part must be a fraction below 1 or a whole number of chains, got {test:g}")
    wanted = int(test) if test >= 1 else max(1, round(test * len(chains)))
    groups = _groups(chains)
    chosen: list[int] = []
    for k in torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist():
        if len(chosen) + len(groups[k]) <= wanted:
            chosen += groups[k]
    if not chosen or len(chosen) == len(chains):
        raise ValueError(
            f"cannot set {wanted} of {len(chains)} chains apart for the test, as chains of one entry or sequence stay "
            f"together in {len(groups)} groups; give more files, another test part, or test chains of their own"
        )
    held = set(chosen)
    return [c for i, c in enumerate(chains) if i not in held], [chains[i] for i in sorted(chosen)]


def without_sequences(chains: list[Data], others: list[Data]) -> list[Data]:
    """Return the chains whose sequence none of the others has."""
    known = {chain.sequence for chain in others}
    return [chain for chain in chains if chain.sequence not in known]


def _groups(chains: list[Data]) -> list[list[int]]:
    """Rows of chains that are linked by a common entry or sequence."""
    group_of: dict[tuple[str, str], list[int]] = {}
    for i, chain in enumerate(chains):
        found = [group_of.get(key) for key in (("entry", chain.entry), ("sequence", chain.sequence))]
        merged = [i]
        for group in {id(g): g for g in found if g}.values():
            merged += group
        for j in merged:
            group_of["entry", chains[j].entry] = group_of["sequence", chains[j].sequence] = merged
    distinct = {id(group): sorted(group) for group in group_of.values()}
    return sorted(distinct.values())
