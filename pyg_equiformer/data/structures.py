"""The bundled trajectories, and molecules with energies and forces from extended XYZ. Energies in eV, lengths in Å."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal, get_args

import torch
from torch_geometric.data import Data

from .. import keys
from .opening import open_structures
from .read_options import ReadOptions

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
    r"""Read all structures of a file with energies and forces, one `Data` per frame; see `open_structures` for more.

    Args:
        path: extended XYZ, plain or compressed (.xz, .gz), with `energy` in eV and `forces` in eV/Å, or any other
            file that `open_structures` reads.
        dtype: of positions and forces. Energies stay float64: float32 would round -300 eV to 3e-5 eV.

    Returns:
        Per frame `z` [N] int64, `pos` [N, 3] in Å, `energy` [1] in eV (float64), `forces` [N, 3] in eV/Å; if any
        frame is periodic, all have `cell` [1, 3, 3] in Å and `pbc` [1, 3].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file and frame (counted from 0), if the file is not extended XYZ or not compressed
            as its suffix says, if energy or forces are missing or a number is not finite, or if an element is
            unknown.
        ImportError: if ASE is not installed.

    Example:
        >>> frame = read_structures(SAMPLES / "ethanol_test.xyz.xz")[0]
        >>> frame.pos.shape, frame.energy.dtype
        (torch.Size([9, 3]), torch.float64)
    """
    options = ReadOptions((keys.ENERGY, keys.FORCES), duplicates="keep", in_memory=True, dtype=dtype)
    return list(open_structures(path, options).structures)
