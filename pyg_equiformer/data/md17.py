"""MD17, revised MD17 and the coupled-cluster sets of PyG's `MD17`, in eV and in the published splits."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import keys
from ..units import KCAL_PER_MOL
from .pyg_datasets import CollatedStructures, check_precise_values, load_dataset, offsets_of
from .splits import Split, hold_out, random_split
from .structure_sets import Structures

FOLDER = "MD17"
SPLITS = 5  #: official splits of revised MD17


def md17_names() -> dict[str, str]:
    """Return PyG's name of each data set by ours: "rmd17:aspirin" → "revised aspirin".

    Example:
        >>> md17_names()["ccsd:ethanol"]
        'ethanol CCSD(T)'
    """
    from torch_geometric.datasets import MD17

    names = {}
    for name in MD17.file_names:
        if name.startswith("revised "):
            family, molecule = "rmd17", name.removeprefix("revised ")
        elif "CCSD" in name:
            family, molecule = "ccsd", name.split(" CCSD")[0]
        else:
            family, molecule = "md17", name
        names[f"{family}:{molecule.lower().replace(' ', '_').replace('-', '_')}"] = name
    return names


def open_md17(name: str, root: str | Path, *, split_seed: int = 1, split: int = 1) -> Structures:
    """Return a trajectory with energies in eV (float64) and forces in eV/Å, in the published split.

    - md17: 950 / 50 / rest at random, as in arXiv 2206.11990.
    - rmd17: the official split, of whose 1000 training frames 50 are for validation; 950 / 50 / 1000 at random
      where the files of the official splits are not there.
    - ccsd: the predefined training and test frames; a twentieth of the former is for validation.

    Energies are read anew from the raw file, as PyG's float32 leaves steps of 1.4 meV in those of aspirin.

    Args:
        name: a key of `md17_names`.
        root: folder of the data sets; PyG's files are in `MD17` below it.
        split_seed: seed of what is drawn at random; 1 is as published.
        split: number of the official split of revised MD17, 1 to 5.

    Raises:
        OSError: if files are missing and cannot be downloaded.
        ValueError: if files cannot be processed, or the splits do not fit the trajectory.
    """
    from torch_geometric.datasets import MD17

    folder, pyg_name = Path(root) / FOLDER, md17_names()[name]
    raw = folder / "raw" if name.startswith("rmd17") else folder / pyg_name / "raw"
    stem = Path(MD17.file_names[pyg_name])
    if name.startswith("ccsd"):
        files = [raw / f"{stem.stem}-{part}.npz" for part in ("train", "test")]
        train, test = (
            _structures(load_dataset(partial(MD17, str(folder), pyg_name, train=first), files), path)
            for first, path in zip((True, False), files)
        )
        kept, held = hold_out(torch.arange(len(train)), split_seed)
        note = f"predefined split, of it {len(held)} of {len(train)} training frames for validation, seed {split_seed}"
        parts = train.subset(kept), train.subset(held), test
    else:
        path = raw / "rmd17" / "npz_data" / stem if name.startswith("rmd17") else raw / stem
        frames = _structures(load_dataset(partial(MD17, str(folder), pyg_name), [path]), path)
        if name.startswith("rmd17"):
            chosen = _official_split(raw / "rmd17" / "splits", split, len(frames), split_seed)
        else:
            chosen = random_split(len(frames), 950, 50, 1000, rest=True, seed=split_seed)
        note = chosen.note
        parts = frames.subset(chosen.train), frames.subset(chosen.valid), frames.subset(chosen.test)
    return Structures(
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        name=name,
        notes=(f"kcal/mol converted to eV; energies float64, read from {stem.stem}", note),
    )


def _structures(dataset: Any, path: Path) -> CollatedStructures:
    """Return the frames of a PyG data set with the energies of its raw file."""
    with np.load(path) as raw:
        kcal = raw["energies"] if "energies" in raw else raw["E"]
    energies, data = torch.from_numpy(np.asarray(kcal, dtype=np.float64).reshape(-1)), dataset._data
    check_precise_values(energies, data.energy, path, dataset.processed_dir)
    return CollatedStructures(
        data.z,
        data.pos,
        offsets_of(dataset),
        {keys.ENERGY: energies * KCAL_PER_MOL},
        {keys.FORCES: data.force * KCAL_PER_MOL},
    )


def _official_split(folder: Path, split: int, n: int, seed: int) -> Split:
    """Return the official split of revised MD17, or a random one where its files are not there."""
    paths = [folder / f"index_{part}_{split:02d}.csv" for part in ("train", "test")]
    if not all(p.exists() for p in paths):
        drawn = random_split(n, 950, 50, 1000, rest=False, seed=seed)
        note = f"official split {split} is not there ({paths[0].name}, {paths[1].name} in {folder}); {drawn.note}"
        return Split(drawn.train, drawn.valid, drawn.test, note)
    train, test = (_read_indices(p, n) for p in paths)
    kept, held = hold_out(train, seed)
    sizes = f"{len(kept)} / {len(held)} / {len(test)}"
    return Split(kept, held, test, f"official split {split}: {sizes} (training, validation, test), seed {seed}")


def _read_indices(path: Path, n: int) -> Tensor:
    try:
        indices = np.loadtxt(path, ndmin=1).astype(np.int64)
    except ValueError as error:
        raise ValueError(f"{path}: expected one frame number per line: {error}") from error
    if len(indices) < 2 or indices.min() < 0 or indices.max() >= n:
        raise ValueError(f"{path}: expected frame numbers from 0 to {n - 1}, got {indices.tolist()[:3]} …")
    return torch.from_numpy(indices)
