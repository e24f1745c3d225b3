"""Neighbour searches of other packages, which take linear time in large graphs."""

import math
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from .dense import dense_edges
from .pairs import close_pairs, reach


@lru_cache(maxsize=1)
def has_vesin() -> bool:
    """Return whether the package vesin is installed."""
    return find_spec("vesin") is not None


@lru_cache(maxsize=1)
def has_nvalchemi() -> bool:
    """Return whether the package nvalchemi-toolkit-ops is installed."""
    return find_spec("nvalchemiops") is not None


def check_library(engine: str, device: torch.device) -> None:
    """Check that the engine that was asked for is installed and runs on the device.

    Raises:
        ValueError: if it does not run on the device.
        ImportError: if its package is not installed.

    Example:
        >>> check_library("dense", torch.device("cpu"))
    """
    if engine == "vesin" and not has_vesin():
        raise ImportError('engine="vesin" needs vesin: pip install "pyg_equiformer[train]"')
    if engine == "nvalchemi" and not has_nvalchemi():
        raise ImportError('engine="nvalchemi" needs nvalchemi-toolkit-ops: pip install "pyg_equiformer[gpu]"')
    if engine == "vesin" and device.type != "cpu":
        raise ValueError(f'expected pos on the CPU for engine="vesin", got {device}')


def vesin_edges(pos: Tensor, sizes: list[int], r: float, limit: int | None) -> Tensor:
    """Find the edges of consecutive graphs with vesin's cell lists, graph by graph.

    Args:
        pos: positions [N, 3] in Å on the CPU, contiguous, the atoms of each graph in a row.
        sizes: atoms of each graph, N in total.
        r: cutoff in Å.
        limit: nearest sources kept per target, `None` for all.

    Returns:
        Edges [2, E], sorted by target and then by source.
    """
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    start = 0
    for size in sizes:
        graph = pos[start : start + size]
        if size > 1 and fits_vesin((graph.amax(0) - graph.amin(0)).tolist(), r):
            parts.append(close_pairs(graph, _vesin_pairs(graph, r), r, limit).add_(start))
        elif size > 1:
            parts.append(dense_edges(graph, [size], r, limit).add_(start))
        start += size
    return torch.cat(parts, dim=1)


def fits_vesin(extent: list[float], r: float) -> bool:
    """Return whether vesin's grid of cells suits a box.

    vesin 0.6 scales a grid of more than 1e5 cells down and, where the box is much longer than wide, may be
    left with no cell across it, which ends the process. A cutoff much larger than the box makes it visit a
    vast number of cells outside of it, and one below 1e-6 Å is refused.

    Args:
        extent: of the box in Å in three directions: those of the positions, or the heights of a periodic cell.
        r: cutoff in Å.

    Example:
        >>> fits_vesin([20.0, 20.0, 20.0], 5.0), fits_vesin([1.0, 1.0, 1e7], 5.0)
        (True, False)
    """
    sides = [max(length, 1.0) for length in extent]
    cells = [max(1.0, length / r) for length in sides]
    total = math.prod(cells)
    scaled = min(cells) * (1e5 / total) ** (1 / 3)
    visited = min(total, 1e5) * math.prod(2 * r / length + 3 for length in sides)
    return r > 1e-5 and (total < 9e4 or scaled > 4) and visited < 1e8


def _vesin_pairs(pos: Tensor, r: float) -> Tensor:
    import numpy as np
    from vesin import NeighborList

    # One thread in the workers of a DataLoader, as torch has there.
    search = NeighborList(cutoff=reach(pos, r), full_list=True, n_threads=torch.get_num_threads())
    points = np.array(pos.tolist())  # inside torch.func.grad, NumPy cannot read the tensor itself
    (pairs,) = search.compute(points, np.zeros((3, 3)), periodic=False, quantities="P", copy=False)
    # Both indices in one integer: NumPy sorts those ten times faster than torch sorts pairs.
    packed = (pairs[:, 0].astype(np.int64) << 32) | pairs[:, 1].astype(np.int64)
    packed.sort()
    return torch.stack([torch.from_numpy(packed & 0xFFFFFFFF), torch.from_numpy(packed >> 32)])


def nvalchemi_edges(pos: Tensor, sizes: list[int], r: float, limit: int | None) -> Tensor:
    """Find the edges of consecutive graphs with nvalchemi-toolkit-ops.

    The package is made for CUDA; this adapter has been run on the CPU only so far, where it works too.

    Args:
        pos: positions [N, 3] in Å, contiguous, the atoms of each graph in a row.
        sizes: atoms of each graph, N in total.
        r: cutoff in Å.
        limit: nearest sources kept per target, `None` for all.

    Returns:
        Edges [2, E], sorted by target and then by source.
    """
    largest = max(sizes)
    if largest < 2:
        return pos.new_empty(2, 0, dtype=torch.int64)
    pairs = _nvalchemi_pairs(pos, sizes, r, largest - 1)
    packed = ((pairs[0].long() << 32) | pairs[1].long()).sort().values
    return close_pairs(pos, torch.stack([packed & 0xFFFFFFFF, packed >> 32]), r, limit)


def _nvalchemi_pairs(pos: Tensor, sizes: list[int], r: float, most: int) -> Tensor:
    from nvalchemiops.torch.neighbors import NeighborOverflowError, neighbor_list

    size = torch.tensor(sizes, dtype=torch.int32, device=pos.device)
    several = {}
    if len(sizes) > 1:
        graph = torch.arange(len(sizes), dtype=torch.int32, device=pos.device).repeat_interleave(size)
        ends = torch.nn.functional.pad(size.cumsum(0, dtype=torch.int32), (1, 0))
        several = {"batch_idx": graph, "batch_ptr": ends}
    across = float((pos.amax(0) - pos.amin(0)).norm())
    # Beyond the width of the box a larger cutoff finds nothing more.
    cutoff = reach(pos, min(r, max(1.01 * across, 1.0)))
    places = int(min(most, 16 + cutoff * cutoff * cutoff))  # 0.24 atoms/Å³, twice what liquids have
    try:
        return neighbor_list(pos, cutoff, max_neighbors=places, return_neighbor_list=True, **several)[0]
    except NeighborOverflowError as error:  # it tells how many are needed
        places = error.num_neighbors
    return neighbor_list(pos, cutoff, max_neighbors=places, return_neighbor_list=True, **several)[0]
