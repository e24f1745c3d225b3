"""Structures that occur again, found by fingerprints of 64 bits, so that not even a million of them take space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def fingerprint(arrays: Mapping[str, np.ndarray], names: Iterable[str]) -> int:
    """Return 64 bits that are equal where all the arrays are equal bit for bit, zeros of both signs being the same.

    Example:
        >>> fingerprint({"pos": np.zeros(3)}, ["pos"]) == fingerprint({"pos": -np.zeros(3)}, ["pos"])
        True
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in names:
        digest.update((np.ascontiguousarray(arrays[name]) + 0).tobytes())
    return int.from_bytes(digest.digest(), "big")


def repeated(fingerprints: Sequence[int]) -> np.ndarray:
    """Return for each structure the place of the first one with the same fingerprint before it, or -1.

    Example:
        >>> repeated([7, 8, 7, 7]).tolist()
        [-1, -1, 0, 0]
    """
    if not len(fingerprints):
        return np.full(0, -1)
    _, first, which = np.unique(np.array(fingerprints, dtype=np.uint64), return_index=True, return_inverse=True)
    earlier = first[which]
    return np.where(earlier == np.arange(len(earlier)), -1, earlier)
