"""Benchmark data sets by name."""

import difflib
from pathlib import Path

from .md17 import SPLITS, md17_names, open_md17
from .qm9 import QM9_TARGETS, open_qm9
from .structure_sets import Structures

FAMILIES = ("qm9", "md17", "rmd17", "ccsd")


def is_builtin(spec: str) -> bool:
    """Whether this names a built-in data set, such as "qm9:gap", and not a path.

    The name may be wrong after the colon; `open_builtin` tells which there are.

    Example:
        >>> is_builtin("rmd17:aspirin"), is_builtin("frames.xyz")
        (True, False)
    """
    family, colon, _ = str(spec).strip().lower().partition(":")
    return family in FAMILIES and (bool(colon) or not Path(spec).exists())


def open_builtin(spec: str, root: str | Path = "data", *, split_seed: int = 1, split: int = 1) -> Structures:
    """Return a benchmark data set with its published split and units, by PyG's own data set classes.

    - "qm9:TARGET": QM9 with one of `QM9_TARGETS` ("qm9:gap"), see `open_qm9`.
    - "md17:MOLECULE", "rmd17:MOLECULE": MD17 and revised MD17 ("md17:aspirin"), see `open_md17`.
    - "ccsd:MOLECULE": the coupled-cluster sets ("ccsd:ethanol").

    Upper and lower case are alike, as are spaces, hyphens and underscores. Files that are not there are downloaded.
    The structures are read from PyG's processed tensors when they are asked for. Energies are in eV (float64),
    forces in eV/Å; other properties of QM9 have the unit of their target.

    Args:
        spec: name of the data set.
        root: folder that holds the data sets, PyG's files in `QM9` and `MD17` below it.
        split_seed: seed of what is drawn at random; 1 is as published.
        split: number of the official split of revised MD17, 1 to 5.

    Raises:
        OSError: if files are missing and cannot be downloaded; it names them.
        ValueError: for an unknown name, files that cannot be processed, or a split that there is not.

    Example:
        >>> open_builtin("qm9:bandgap")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: there is no data set 'qm9:bandgap'; did you mean qm9:gap? There are qm9:mu, qm9:alpha, ...
    """
    name = builtin_name(spec)
    if not isinstance(split_seed, int) or split_seed < 0:
        raise ValueError(f"split_seed must be an integer of at least 0, got {split_seed!r}")
    if split not in range(1, SPLITS + 1):
        raise ValueError(f"revised MD17 has the splits 1 to {SPLITS}, got split={split!r}")
    if split != 1 and not name.startswith("rmd17"):
        raise ValueError(f"only revised MD17 has numbered splits, got split={split} for {name}; choose split_seed")
    if name.startswith("qm9"):
        return open_qm9(name.removeprefix("qm9:"), root, split_seed=split_seed)
    return open_md17(name, root, split_seed=split_seed, split=split)


def builtin_name(spec: str) -> str:
    """Return the name of a built-in data set as it is listed.

    Raises:
        ValueError: for an unknown name; it tells which there are.

    Example:
        >>> builtin_name("rMD17:salicylic acid")
        'rmd17:salicylic_acid'
    """
    family, _, member = spec.strip().lower().replace(" ", "_").replace("-", "_").partition(":")
    if family == "qm9":
        member = member.replace("298", "")  # u298, h298, g298 in the published file
    elif member == "salicylic":
        member = "salicylic_acid"
    names = [f"qm9:{target}" for target in QM9_TARGETS] if family == "qm9" else list(md17_names())
    name = f"{family}:{member}"
    if name in names:
        return name
    same = [n for n in names if n.startswith(f"{family}:")]
    if not same:
        raise ValueError(
            f"there is no data set {spec!r}; built-in ones start with {', '.join(f'{f}:' for f in FAMILIES)}"
        )
    near = difflib.get_close_matches(member, [n.partition(":")[2] for n in same], n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(f'{family}:{n}' for n in near)}? " if near else ""
    raise ValueError(f"there is no data set {spec!r}; {hint}There are {', '.join(same)}")
