"""Structures with energies and forces, from extended XYZ to PyG. Energies in eV, lengths in Å."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from .. import keys

#: Folder of the trajectories that ship with the package; its README.md tells how they were made.
SAMPLES = Path(str(resources.files(__package__))) / "samples"

Split = Literal["train", "test"]


def bundled_sample(split: Split, dtype: torch.dtype = torch.float32) -> list[Data]:
    """Return the ethanol trajectory that ships with the package: GFN2-xTB at 500 K, frames 20 fs apart.

    Args:
        split: "train" (1000 frames) or "test" (250 frames of a run from another conformer and seed).
        dtype: of positions and forces.

    Returns:
        What `read_structures` returns.

    Raises:
        ValueError: if the split is neither.

    Example:
        >>> len(bundled_sample("train")), len(bundled_sample("test"))
        (1000, 250)
    """
    if split not in get_args(Split):
        raise ValueError(f"split: expected one of {get_args(Split)}, got {split!r}")
    return read_structures(SAMPLES / f"ethanol_{split}.xyz.xz", dtype)


def read_structures(path: str | Path, dtype: torch.dtype = torch.float32) -> list[Data]:
    r"""Read molecules with energies and forces from extended XYZ, one `Data` per frame.

    Args:
        path: extended XYZ, plain or compressed (.xz, .gz), with `energy` in eV and `forces` in eV/Å.
        dtype: of positions and forces. Energies stay float64: float32 would round -300 eV to 3e-5 eV.

    Returns:
        Per frame `z` [N] int64, `pos` [N, 3] in Å, `energy` [1] in eV (float64), `forces` [N, 3] in eV/Å.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file and frame (counted from 0), if the file is not extended XYZ or not compressed
            as its suffix says, if energy or forces are missing or a number is not finite, if an element is
            unknown, or if a frame is periodic.
        ImportError: if ASE is not installed.

    Example:
        >>> frame = read_structures(SAMPLES / "ethanol_test.xyz.xz")[0]
        >>> frame.pos.shape, frame.energy.dtype
        (torch.Size([9, 3]), torch.float64)
    """
    try:
        import ase.io.extxyz  # noqa: F401
    except ImportError as error:
        raise ImportError('reading needs ASE: pip install "pyg_equiformer[train]"') from error
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating point type, got {dtype}")
    path = Path(path)
    blocks = _blocks(path, _read_text(path))
    structures = [_parse(f"{path}, frame {index}", block, dtype) for index, block in enumerate(blocks)]
    if not structures:
        raise ValueError(f"{path}: the file has no frames, expected extended XYZ")
    return structures


def _read_text(path: Path) -> str:
    unpack = {".xz": lzma.decompress, ".gz": gzip.decompress}.get(path.suffix.lower(), bytes)
    try:
        return unpack(path.read_bytes()).decode()
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile, UnicodeDecodeError, zlib.error) as error:
        kind = f"{path.suffix} compressed text" if unpack is not bytes else "plain text"
        raise ValueError(f"{path}: expected extended XYZ as {kind}, reading failed: {error}") from error


def _blocks(path: Path, text: str) -> Iterator[str]:
    """Cut the text into frames: the number of atoms, a comment, one line per atom."""
    lines, start, index = text.splitlines(), 0, 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1  # blank lines between frames and at the end
            continue
        count, found = lines[start].strip(), len(lines) - start - 2
        if not count.isdecimal() or int(count) < 1:
            raise ValueError(f"{path}, frame {index}: expected the number of atoms, got {count[:40]!r}")
        if found < int(count):
            got = max(found, 0)
            raise ValueError(f"{path}, frame {index}: expected {count} atoms, but the file ends after {got}")
        stop = start + 2 + int(count)
        yield "\n".join(lines[start:stop])
        start, index = stop, index + 1


def _parse(where: str, block: str, dtype: torch.dtype) -> Data:
    """One frame; `where` names file and frame in messages."""
    from ase.io.extxyz import read_xyz

    try:
        atoms = next(read_xyz(io.StringIO(block), slice(None)))
    except Exception as error:  # the parser fails in many ways: unknown symbols, missing columns, bad numbers
        raise ValueError(f"{where}: not valid extended XYZ: {error!r}") from error
    # From the results: atoms.get_forces() would zero the forces of atoms that the file marks as fixed.
    results = atoms.calc.results if atoms.calc is not None else {}
    missing = [key for key in ("energy", "forces") if key not in results]
    if missing:
        found = sorted({*results, *atoms.info, *atoms.arrays} - {"numbers", "positions"})
        raise ValueError(f"{where}: expected {' and '.join(missing)}, found only {found or 'positions'}")
    if atoms.pbc.any():
        raise ValueError(f"{where}: expected a molecule, got a periodic structure (pbc {atoms.pbc.tolist()})")
    if atoms.numbers.min() < 1:
        raise ValueError(f"{where}: expected chemical elements, got atom type {str(atoms.symbols)!r}")
    energy = _finite(where, "energy", results["energy"]).reshape(-1)
    if energy.numel() != 1:
        raise ValueError(f"{where}: expected one energy, got {energy.numel()}")
    return Data(
        **{
            keys.Z: torch.from_numpy(atoms.numbers.astype(np.int64)),
            keys.POS: _finite(where, "positions", atoms.positions).to(dtype),
            keys.ENERGY: energy,
            keys.FORCES: _finite(where, "forces", results["forces"]).to(dtype),
        }
    )


def _finite(where: str, label: str, values: object) -> Tensor:
    try:
        tensor = torch.from_numpy(np.array(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected {label} as numbers, got {values!r}") from error
    if not tensor.isfinite().all():
        raise ValueError(f"{where}: {label} are not all finite numbers: {tensor.tolist()}")
    return tensor
