"""Protein chains that are alike: identity of sequences, clusters of related chains, and splits that keep them whole."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from torch_geometric.data import Data

from .protein_atoms import UNKNOWN, check_letters
from .protein_split import linked_rows, split_groups

if TYPE_CHECKING:
    from biotite.sequence import ProteinSequence
    from biotite.sequence.align import SubstitutionMatrix

GAP = (-12, -1)  #: scores of the first and of each further residue of a gap, as in BLAST: 11 to open it, 1 for each
#: Constants of the extreme value distribution of scores with BLOSUM62 and these gaps: Altschul and Gish, Methods in
#: Enzymology 266, 460 (1996).
DECAY, FREQUENCY = 0.267, 0.041
CHANCE = 1e-3  #: alignments as good that two unrelated sequences may have, for the chains to be related


class _Aligned(NamedTuple):
    identical: int  # residues
    score: float


def sequence_identity(a: str, b: str) -> float:
    r"""Return the identical residues of two sequences, as a part of the shorter one.

    .. math:: \frac{\#\{k : a_k = b_k\}}{\min(|a|, |b|)}

    over the columns k of the best local alignment (Smith and Waterman, J. Mol. Biol. 147, 195 (1981)) with BLOSUM62
    and affine gaps. As in CD-HIT (Bioinformatics 22, 1658 (2006)), a short match of long chains counts little: an
    identity of 30% means that at least 30% of the shorter chain is aligned. X is identical to nothing.

    Args:
        a, b: one letter per residue, in either order.

    Raises:
        ValueError: for sequences without a residue or with an unknown letter.
        ImportError: if biotite is not installed.

    Example:
        >>> sequence_identity("MKTAYIAKQR", "GGMKTAYLAKQRGG")
        0.9
    """
    return _align(a, b).identical / min(len(a), len(b))


def related(a: str, b: str, threshold: float = 0.3) -> bool:
    r"""Whether two sequences are equal, or their identity reaches a threshold by more than chance.

    Short sequences, and those of few kinds of residues, reach 30% by chance. So the score S of the alignment has to be
    one that less than 0.001 alignments of random sequences of these lengths have (Karlin and Altschul, PNAS 87, 2264
    (1990)):

    .. math:: E = K |a| |b| e^{-λ S} \le 10^{-3}

    Args:
        a, b: one letter per residue, in either order.
        threshold: of `sequence_identity`, above 0 and at most 1.

    Raises:
        ValueError: for such sequences as `sequence_identity` refuses, and thresholds out of range.
        ImportError: if biotite is not installed.

    Example:
        >>> related("MKTAYIAKQRQISFVK", "MKTAYLAKQRQLSFVK"), related("GASP", "GAST")
        (True, False)
    """
    _check_threshold(threshold)
    if a == b:
        return True
    found = _align(a, b)
    chance = FREQUENCY * len(a) * len(b) * math.exp(-DECAY * found.score)
    return found.identical >= threshold * min(len(a), len(b)) and chance <= CHANCE


def identity_clusters(
    chains: Sequence[Data], threshold: float = 0.3, groups: Sequence[Hashable] | None = None
) -> list[list[int]]:
    """Return the rows of chains that are linked, directly or through others (single linkage).

    Linked are chains of one entry, of one group, and those whose sequences are `related`. Each pair of sequences is
    aligned that is not linked yet, in about a millisecond: seconds for a hundred chains, hours for ten thousand. Such
    numbers are better clustered elsewhere (MMseqs2, CD-HIT), and the clusters given to `split_groups`.

    Args:
        chains: as `read_protein_chains` gives them, with `entry` and `sequence`.
        threshold: of `sequence_identity`, above 0 and at most 1.
        groups: a label for each chain, None for chains of no group. None: no groups.

    Raises:
        ValueError: for chains without these texts, sequences with unknown letters, thresholds out of range, and groups
            that are not as many as chains.
        ImportError: if biotite is not installed.

    Example:
        >>> chains = [Data(entry=str(i), sequence=s) for i, s in enumerate(["MKTAYIAKQR", "GSHMWLLE", "GSHMWLLE"])]
        >>> identity_clusters(chains), identity_clusters(chains, groups=["toxin", "toxin", None])
        ([[0], [1, 2]], [[0, 1, 2]])
    """
    _check_threshold(threshold)
    labels = [None] * len(chains) if groups is None else groups
    if len(labels) != len(chains):
        raise ValueError(f"expected a group for each of {len(chains)} chains, got {len(labels)} groups")
    clusters: list[list[int]] = []
    for cluster in linked_rows([_keys(k, chain, label) for k, (chain, label) in enumerate(zip(chains, labels))]):
        here = _sequences(chains, cluster)
        near = [any(related(a, b, threshold) for a in here for b in _sequences(chains, other)) for other in clusters]
        joined = cluster + [k for other, alike in zip(clusters, near) if alike for k in other]
        clusters = [*(other for other, alike in zip(clusters, near) if not alike), joined]
    return sorted(sorted(cluster) for cluster in clusters)


def split_by_identity(
    chains: list[Data],
    test: float,
    seed: int = 0,
    threshold: float = 0.3,
    groups: Sequence[Hashable] | None = None,
) -> tuple[list[Data], list[Data]]:
    """Return chains to train on and chains to test with; none of the latter is linked to one of the former.

    Args:
        chains: as `read_protein_chains` gives them, with `entry` and `sequence`.
        test: fraction of the chains, below 1, or their number; clusters that would make it more are passed over.
        seed: of the order in which clusters are drawn.
        threshold, groups: see `identity_clusters`.

    Raises:
        ValueError: as `identity_clusters`; if either set would be empty, or the fraction is out of range.
        ImportError: if biotite is not installed.

    Example:
        >>> chains = [Data(entry=str(i), sequence=s) for i, s in enumerate(["MKTAYIAKQR", "GSHMWLLE", "MKTAYIAKQR"])]
        >>> train, test = split_by_identity(chains, test=1)
        >>> [chain.entry for chain in train], [chain.entry for chain in test]
        (['0', '2'], ['1'])
    """
    clusters = identity_clusters(chains, threshold, groups)
    return split_groups(chains, clusters, test, seed, f"chains of one entry, one group or {threshold:.0%} identity")


def _check_sequence(letters: str) -> None:
    if not letters:
        raise ValueError("expected sequences with a residue or more, got an empty one")
    check_letters(letters)


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold of identity must be above 0 and at most 1, got {threshold:g}")


def _keys(row: int, chain: Data, label: Hashable) -> list[Hashable]:
    """What a chain shares with those that it is linked to without an alignment."""
    missing = [name for name in ("entry", "sequence") if not chain.get(name)]
    if missing:
        raise ValueError(f"expected chains of read_protein_chains, chain {row} has no {' and no '.join(missing)}")
    _check_sequence(chain.sequence)
    keys: list[Hashable] = [("entry", chain.entry), ("sequence", chain.sequence)]
    return keys if label is None else [*keys, ("group", label)]


def _sequences(chains: Sequence[Data], rows: list[int]) -> list[str]:
    return list(dict.fromkeys(chains[k].sequence for k in rows))


def _align(a: str, b: str) -> _Aligned:
    """Align the shorter sequence with the longer, so that their order does not matter."""
    try:
        from biotite.sequence.align import align_optimal
    except ImportError as error:
        raise ImportError('aligning sequences needs biotite: pip install "pyg_equiformer[pdb]"') from error
    for letters in (a, b):
        _check_sequence(letters)
    short, long = (_encoded(letters) for letters in sorted((a, b), key=lambda letters: (len(letters), letters)))
    best = align_optimal(short, long, _scores(), gap_penalty=GAP, local=True, max_number=1)[0]
    pairs = best.trace[(best.trace >= 0).all(axis=1)]
    code, other = short.code[pairs[:, 0]], long.code[pairs[:, 1]]
    unknown = short.alphabet.encode(UNKNOWN)
    return _Aligned(int(((code == other) & (code != unknown)).sum()), float(best.score))


@lru_cache(maxsize=4096)
def _encoded(letters: str) -> ProteinSequence:
    from biotite.sequence import ProteinSequence

    return ProteinSequence(letters)


@cache
def _scores() -> SubstitutionMatrix:
    from biotite.sequence.align import SubstitutionMatrix

    return SubstitutionMatrix.std_protein_matrix()  # BLOSUM62
