"""Searches for the images within a cutoff, in one structure, and what they may cost."""

import math

import torch
from torch import Tensor

from .cells import Lattice
from .dense import CPU_PAIRS, DEVICE_PAIRS

#: Atoms nearer than this, in Å, are one and the same, twice in the structure.
SAME_PLACE = 1e-3
#: More pairs than this, some 20 GB, are taken for a mistake in the cutoff or the cell.
MOST_PAIRS = 2**28


def check_size(num_atoms: int, r: float, boxes: list[float], repeats: tuple[bool, bool, bool]) -> None:
    """Check that a cutoff does not give more pairs than memory holds.

    Args:
        num_atoms: in the cell.
        r: cutoff in Å.
        boxes: heights of the cell in Å, or widths of the atoms where nothing repeats.
        repeats: whether the structure repeats along each.

    Raises:
        ValueError: if it does.

    Example:
        >>> check_size(8, 5.0, [5.4, 5.4, 5.4], (True, True, True))
    """
    # Of the atoms in a box around the ball, π/6 are in the ball.
    shares = [2 * r / b if p else min(1.0, 2 * r / max(b, 1e-9)) for b, p in zip(boxes, repeats)]
    each = math.pi / 6 * num_atoms * math.prod(shares)
    if each * num_atoms > MOST_PAIRS:
        raise ValueError(
            f"a cutoff of {r:g} Å gives each of the {num_atoms} atoms about {each:.2g} neighbours in this cell, of "
            f"heights {', '.join(f'{b:.3g}' for b in boxes)} Å: {each * num_atoms:.2g} pairs, expected at most "
            f"{MOST_PAIRS:.2g}; choose a smaller cutoff, or check the unit of the cell"
        )


@torch.no_grad()
def check_apart(pos: Tensor, edge_index: Tensor, shift: Tensor) -> None:
    """Check that no atom of a periodic structure is there twice.

    Args:
        pos: positions [N, 3] in Å.
        edge_index: [2, E].
        shift: of the images of the sources [E, 3] in Å.

    Raises:
        ValueError: if two are at one place, with the first pair.

    Example:
        >>> check_apart(torch.zeros(1, 3), torch.zeros(2, 1, dtype=torch.long), torch.ones(1, 3))
    """
    vec = pos.index_select(0, edge_index[0]) - pos.index_select(0, edge_index[1]) + shift
    close = vec.square().sum(1) < SAME_PLACE**2
    if bool(close.any()):
        first = int(close.nonzero()[0])
        (j, i), moved = edge_index[:, first].tolist(), [round(s, 4) for s in shift[first].tolist()]
        raise ValueError(
            f"atoms {i} and {j} (moved by {moved} Å) are at one place, less than {SAME_PLACE} Å apart: expected each "
            "atom once; those on opposite faces of the cell are the same atom"
        )


def extent(pos: Tensor, lattice: Lattice) -> list[float]:
    """Return the width of the atoms in Å along each lattice direction, which counts where nothing repeats."""
    along = pos.double() @ torch.linalg.inv(lattice.vectors).to(pos.device)
    widths: list[float] = (along.amax(0) - along.amin(0)).tolist()
    return widths


def vesin_images(pos: Tensor, r: float, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """Pairs [2, P] within `r` and the image [P, 3] of each source, sorted, by vesin's cell lists."""
    import numpy as np
    from vesin import NeighborList

    # One thread in the workers of a DataLoader, as torch has there.
    search = NeighborList(cutoff=r, full_list=True, n_threads=torch.get_num_threads())
    points = np.array(pos.tolist(), dtype=np.float64)  # inside torch.func.grad, NumPy cannot read the tensor itself
    vectors, repeats = lattice.vectors.numpy(), np.array(lattice.repeats)
    target, source, image = search.compute(points, vectors, periodic=repeats, quantities="ijS")
    order = np.lexsort((image[:, 2], image[:, 1], image[:, 0], source, target))
    edge_index = np.stack([source[order], target[order]]).astype(np.int64)
    return torch.from_numpy(edge_index), torch.from_numpy(image[order].astype(np.int64))


def dense_images(pos: Tensor, r: float, lattice: Lattice) -> tuple[Tensor, Tensor]:
    """The same by all distances from atoms of the cell to atoms and images within reach."""
    vectors, repeats = lattice.vectors.to(pos.device), torch.tensor(lattice.repeats, device=pos.device)
    points = pos.double()
    home = torch.where(repeats, (points @ torch.linalg.inv(vectors)).floor(), 0.0)  # the cell each atom lies in
    points = points - home @ vectors
    # Within the cell, atoms are less than one height apart along each vector.
    most = [int(r / height) + 1 if p else 0 for height, p in zip(lattice.heights, lattice.repeats)]
    steps = [torch.arange(-m, m + 1, dtype=torch.float64, device=pos.device) for m in most]
    images = torch.cartesian_prod(*steps)
    place = (points.unsqueeze(1) + images @ vectors).reshape(-1, 3)  # of every image of every atom
    rows = max(1, (CPU_PAIRS if pos.device.type == "cpu" else DEVICE_PAIRS) // len(place))
    edges, shifts = [], []
    for first in range(0, len(points), rows):
        vec = place - points[first : first + rows].unsqueeze(1)
        target, place_of = (vec.square().sum(-1) < r * r).nonzero(as_tuple=True)
        target, source, image = target + first, place_of // len(images), place_of % len(images)
        keep = (source != target) | (image != len(images) // 2)  # the image in the middle is the atom itself
        source, target, image = source[keep], target[keep], image[keep]
        edges.append(torch.stack([source, target]))
        shifts.append(images[image] - home[source] + home[target])
    return torch.cat(edges, dim=1), torch.cat(shifts).long()
