"""From what a user names to structures: the sample, a built-in data set, or files."""

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock  # comes with torch
from torch_geometric.data import Data

from .. import keys
from ..data import ReadOptions, bundled_sample, is_builtin, open_builtin, open_structures
from ..data.builtin import builtin_name
from ..data.duplicates import fingerprint
from ..data.structure_sets import Structures, StructureSet, Target
from .config import TrainConfig

#: Names in `TrainConfig.read`; the precision of a run decides on the precision of what is read.
READ_SETTINGS = tuple(f.name for f in dataclasses.fields(ReadOptions) if f.name != "dtype")


def read_options(
    values: Mapping[str, Any], targets: tuple[str, ...] | None = None, dtype: torch.dtype = torch.float32
) -> ReadOptions:
    """Return the options of the readers.

    Args:
        values: names and values of `ReadOptions`, as in `TrainConfig.read`.
        targets: the labels to read, in place of those in `values`.
        dtype: of positions, vectors and tensors.

    Raises:
        ValueError: if a name or value is wrong.
    """
    for name in values:
        if name not in READ_SETTINGS:
            near = difflib.get_close_matches(name, READ_SETTINGS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {READ_SETTINGS}"
            raise ValueError(f"unknown setting read.{name}; {hint}")
    given = dict(values)
    if isinstance(given.get("targets"), str):
        given["targets"] = (given["targets"],)
    if targets is not None:
        given["targets"] = targets
    given["targets"] = tuple(given.get("targets") or ())
    return ReadOptions(**given, dtype=dtype)


def open_source(source: str, config: TrainConfig, targets: tuple[str, ...] | None = None) -> StructureSet:
    """Open one file, folder or built-in data set with the run's options.

    Args:
        source: a path, or the name of a built-in data set (all of its structures that are meant for tests).
        config: its `read` and `data_root`.
        targets: the labels; None: those of the options.
    """
    if is_builtin(source):
        found = _open_builtin(source, config.data_root)
        assert found.test is not None
        test = found.test if not isinstance(found.test, Mapping) else next(iter(found.test.values()))
        return StructureSet(test, found.targets, found.name, found.notes, found.streamed)
    return open_structures(source, read_options(config.read, targets, _dtype(config)))


def _dtype(config: TrainConfig) -> torch.dtype:
    return torch.float64 if config.precision == "float64" else torch.float32


def open_sources(config: TrainConfig) -> Structures:
    """Open everything that a run trains on, watches and tests with.

    Args:
        config: its `data` (None: the bundled sample), `valid`, `test`, `read` and `data_root`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is not what it should be, or the sets have different labels.
    """
    sources = (config.data, config.valid, *config.test)
    if config.read and all(source is None or is_builtin(source) for source in sources):
        raise ValueError(
            f"{', '.join(config.read)}: tells how files are read, but {config.data or 'the bundled sample'} is no file "
            "of yours, expected none"
        )
    if config.data is None:
        dtype = _dtype(config)
        found = Structures(bundled_sample("train", dtype), test=bundled_sample("test", dtype), name="ethanol")
    elif is_builtin(config.data):
        if config.read.get("targets"):
            raise ValueError(
                f"targets: {config.data} decides its labels itself, expected none, got {config.read['targets']}"
            )
        found = _open_builtin(config.data, config.data_root)
    else:
        opened = open_source(config.data, config)
        found = Structures(
            opened.structures,
            None,
            None,
            _short(config.data),
            opened.targets,
            _prefixed(config.data, opened),
            opened.streamed,
        )
    names = tuple(t.name for t in found.targets)
    notes = list(found.notes)
    valid, test = found.valid, found.test
    if config.valid is not None:
        one = _open_like(config.valid, config, found, names)
        valid, notes = one.structures, [*notes, *_prefixed(config.valid, one), *_shared(config.valid, one, found)]
    if config.test:
        tests: dict[str, Any] = {}
        for source in config.test:
            one = _open_like(source, config, found, names)
            name = "test" if len(config.test) == 1 else _set_name(source)
            if name in tests:
                raise ValueError(f"--test: expected files with different names, got {name!r} twice")
            tests[name] = one.structures
            notes += [*_prefixed(source, one), *_shared(source, one, found)]
        test = tests
    return dataclasses.replace(found, valid=valid, test=test, notes=tuple(notes))


def _open_builtin(name: str, root: str) -> Structures:
    """Open PyG's data set, one process at a time: the first one downloads and converts it for all."""
    builtin_name(name)  # a wrong one leaves no folder behind
    Path(root).mkdir(parents=True, exist_ok=True)
    if not os.access(root, os.W_OK):
        return open_builtin(name, root)
    with FileLock(Path(root) / ".lock"):
        return open_builtin(name, root)


def _open_like(source: str, config: TrainConfig, found: Structures, names: tuple[str, ...]) -> StructureSet:
    one = open_source(source, config, names)
    kinds = {t.name: t.kind for t in one.targets}
    expected = {t.name: t.kind for t in found.targets}
    if kinds != expected:
        raise ValueError(f"{source}: expected the labels of the training set, {expected}, got {kinds}")
    check_units(source, one.targets, found.targets)
    if one.streamed and not found.streamed:
        # Everything else is kept in memory: so is this.
        one = dataclasses.replace(one, structures=list(one.structures), streamed=False)
    return one


def check_units(source: str, targets: Sequence[Target], trained: Sequence[Target]) -> None:
    """Raise a `ValueError` if labels are in another unit than those of the training set."""
    units = {t.name: t.unit for t in trained}
    for target in targets:
        if target.unit != units.get(target.name, target.unit):
            raise ValueError(
                f"{source}: {target.name} is in {target.unit or 'an unknown unit'}, that of the training set in "
                f"{units[target.name] or 'an unknown unit'}; expected one unit, state it with units.{target.name}=UNIT"
            )


def _shared(source: str, other: StructureSet, found: Structures) -> list[str]:
    """A note if structures to test with are among those to train with; sets on disk are not gone through for it."""
    if found.streamed or other.streamed:
        return []
    known = set(map(_fingerprint, found.train))
    shared = sum(_fingerprint(structure) in known for structure in other.structures)
    if not shared:
        return []
    return [f"{source}: {shared} of {len(other)} structures are also in the training data"]


def _fingerprint(structure: Data) -> int:
    arrays = {key: structure[key].numpy() for key in (keys.Z, keys.POS, keys.CELL, keys.PBC) if key in structure}
    return fingerprint(arrays, arrays)


def _set_name(source: str) -> str:
    """A name among those of the sets of a run, which has some of its own."""
    name = _short(source)
    return f"test-{name}" if name in ("train", "valid", "run") else name


def _prefixed(source: str, opened: StructureSet) -> tuple[str, ...]:
    return tuple(note if source in note else f"{source}: {note}" for note in opened.notes)


def _short(source: str) -> str:
    """A name for folders and titles."""
    return (
        source.replace(":", "-")
        if is_builtin(source)
        else (Path(source).name.split(".")[0] or Path(source).resolve().name)
    )
