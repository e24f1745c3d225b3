"""Splitting protein chains, so that no test chain is known from the training."""

from collections.abc import Hashable, Sequence

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
    together = linked_rows([(("entry", chain.entry), ("sequence", chain.sequence)) for chain in chains])
    return split_groups(chains, together, test, seed, "chains of one entry or sequence")


def split_groups(
    chains: list[Data], groups: list[list[int]], test: float, seed: int, alike: str
) -> tuple[list[Data], list[Data]]:
    """Return chains to train on and chains to test with, none of a group apart.

    Args:
        chains: all of them.
        groups: rows of chains that stay together, each row in one of them.
        test: fraction of the chains, below 1, or their number; groups that would make it more are passed over.
        seed: of the order in which groups are drawn.
        alike: what stays together, in words.

    Raises:
        ValueError: if either set would be empty, or the fraction is out of range.

    Example:
        >>> chains = [Data(name=name) for name in "abcd"]
        >>> train, test = split_groups(chains, [[0, 2, 3], [1]], 0.25, 0, "chains of one family")
        >>> [chain.name for chain in test]
        ['b']
    """
    if not test > 0 or (test >= 1 and test != int(test)):
        raise ValueError(f"the test part must be a fraction below 1 or a whole number of chains, got {test:g}")
    wanted = int(test) if test >= 1 else max(1, round(test * len(chains)))
    chosen: list[int] = []
    for k in torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist():
        if len(chosen) + len(groups[k]) <= wanted:
            chosen += groups[k]
    if not chosen or len(chosen) == len(chains):
        raise ValueError(
            f"cannot set {wanted} of {len(chains)} chains apart for the test, as {alike} stay together in "
            f"{len(groups)} groups; give more files, another test part, or test chains of their own"
        )
    held = set(chosen)
    return [c for i, c in enumerate(chains) if i not in held], [chains[i] for i in sorted(chosen)]


def without_sequences(chains: list[Data], others: list[Data]) -> list[Data]:
    """Return the chains whose sequence none of the others has."""
    known = {chain.sequence for chain in others}
    return [chain for chain in chains if chain.sequence not in known]


def linked_rows(keys: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Return rows that are linked by a key which they share, directly or through others.

    Example:
        >>> linked_rows([("a", 1), ("b", 2), ("c", 1), ("c", 3)])
        [[0, 2, 3], [1]]
    """
    group_of: dict[Hashable, list[int]] = {}
    for i, row in enumerate(keys):
        merged = [i]
        for group in {id(g): g for key in row if (g := group_of.get(key))}.values():
            merged += group
        for key in (key for j in merged for key in keys[j]):
            group_of[key] = merged
    distinct = {id(group): sorted(group) for group in group_of.values()}
    return sorted(distinct.values())
