"""From a path to labelled structures, whatever the format."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from . import extended_xyz, pdb_files
from .ase_databases import AseDatabase, AseLmdb
from .ase_frames import AseFile
from .builtin import FAMILIES
from .conversion import FrameConverter
from .extended_xyz import ExtendedXyz
from .frame_scan import scan_frames
from .frames import FrameSource
from .labels import choose_labels
from .npz_files import NpzFile
from .read_options import ReadOptions
from .streaming import StreamedStructures
from .structure_folders import TABLE, StructureFolder
from .structure_sets import StructureSet

#: How many structures are held in memory unless the user says otherwise.
HELD = 20_000
#: From how many frames on the pass over all of them is announced.
_LONG = 100_000


def open_structures(path: str | Path, options: ReadOptions | None = None) -> StructureSet:
    r"""Open a file or folder of structures with labels.

    Read are extended XYZ (.xyz, .extxyz, also .xz and .gz), ASE databases (.db, .json), the ASE-LMDB layout of OC20
    and OMat24 (.aselmdb or a folder of them), NumPy archives as of sGDML and the revised MD17 (.npz), PDB files,
    folders of structure files with their labels in `labels.csv`, such a table, and any other file that ASE reads.

    All frames are looked at once; those that the options leave out are counted in the notes. A set that is read from
    disk without anything to look for (`duplicates="keep"`, and nothing to be skipped) is not gone through: its
    frames are checked as they are read.

    Args:
        path: of the file or folder.
        options: which labels, units, and what becomes of frames that are not in order; None for the defaults.

    Returns:
        Structures with `z` [n] int64, `pos` [n, 3] in Å and one field per label in eV and Å; if any structure is
        periodic, all have `cell` [1, 3, 3] in Å and `pbc` [1, 3].

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: naming file and frame (counted from 0) and, where there is one, the option that goes on.
        ImportError: naming the extra to install, if a format needs a package that is not installed.

    Example:
        >>> from pyg_equiformer.data import SAMPLES
        >>> ethanol = open_structures(SAMPLES / "ethanol_test.xyz.xz")
        >>> len(ethanol), ethanol.name, [target.name for target in ethanol.targets]
        (250, 'ethanol_test', ['energy', 'forces'])
    """
    options, path = options or ReadOptions(), Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder{_near(path)}")
    source = open_source(path)
    held = _held(source, options)
    labels, notes = choose_labels(source, options)
    converter = FrameConverter(source, labels, options)
    notes = [*source.notes, *notes]
    targets, name = tuple(label.target for label in labels), _short_name(path)
    if not held and options.duplicates == "keep" and "skip" not in (options.bad_frames, options.missing_labels):
        notes.append("frames are checked as they are read; duplicates=skip goes through all of them first")
        structures = StreamedStructures(converter, range(len(source)), periodic=True)
        return StructureSet(structures, targets, name, tuple(notes), streamed=True)
    if len(source) > _LONG:
        logging.getLogger(__name__).warning(
            "%s: looking at all %d frames once; with duplicates=keep and nothing to skip this is left out",
            path,
            len(source),
        )
    scan = scan_frames(converter, keep=held)
    notes += scan.notes
    if scan.structures is not None:
        return StructureSet(scan.structures, targets, name, tuple(notes))
    streamed = StreamedStructures(converter, scan.indices, scan.periodic)
    return StructureSet(streamed, targets, name, tuple(notes), streamed=True)


def _near(path: Path) -> str:
    """What may have been meant by a path that does not exist."""
    if ":" in path.name:
        return f"; built-in data sets start with {', '.join(f'{family}:' for family in FAMILIES)}"
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=2, cutoff=0.8)
    return f"; did you mean {' or '.join(str(path.parent / name) for name in near)}?" if near else ""


def open_source(path: Path) -> FrameSource:
    """Return the frames of a file or folder by what its name says it is."""
    name = path.name.lower()
    if path.is_dir():
        return AseLmdb(path) if any(path.glob("*.aselmdb")) else StructureFolder(path)
    if name.endswith(extended_xyz.SUFFIXES):
        return ExtendedXyz(path)
    if name.endswith(pdb_files.SUFFIXES) or name.endswith(".csv"):
        return StructureFolder(path)
    if name.endswith((".db", ".json")):
        return AseDatabase(path)
    if name.endswith(".aselmdb"):
        return AseLmdb(path)
    if name.endswith(".npz"):
        return NpzFile(path)
    return AseFile(path)


def _short_name(path: Path) -> str:
    path = path.resolve()
    return (path.parent if path.name == TABLE else path).name.split(".")[0]


def _held(source: FrameSource, options: ReadOptions) -> bool:
    if options.in_memory is False and source.held_because:
        raise ValueError(f"in_memory: expected True or None for {source.path}: {source.held_because}")
    if options.in_memory is None:
        return bool(source.held_because) or len(source) <= HELD
    return options.in_memory
