"""`periodic_radius_graph`: all pairs within a cutoff, images of the atoms in neighbouring cells included."""

import torch
from torch import Tensor

from .cells import Lattice, check_lattice
from .dense import CPU_PAIRS, DEVICE_PAIRS
from .inputs import check_cutoff, check_max_num_neighbors, check_positions
from .libraries import fits_vesin, has_vesin
from .pairs import nearest, reach
from .radius_graph import radius_graph


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
@torch.no_grad()
def periodic_radius_graph(
    pos: Tensor, r: float, cell: Tensor, pbc: Tensor, max_num_neighbors: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""Connect all atoms of one periodic structure, and their images, that are closer than `r`.

    .. math::
        \{(j, i, n) : \lVert \mathrm{pos}_j - \mathrm{pos}_i + n\,\mathrm{cell} \rVert < r\},
        \quad n \in \mathbb{Z}^3, \; n_k = 0 \text{ where } \mathrm{pbc}_k \text{ is False}

    An atom is its own neighbour through its images, never through itself. Any cell will do: sheared, thinner
    than the cutoff, periodic in one or two directions only, with atoms outside of it. Edges are sorted by
    target, then source, then image n; what is near is decided on the edge vectors in the precision of `pos`.
    The result carries no gradient.

    On the CPU, vesin (extra `train`) searches in linear time where it is installed; otherwise, and on other
    devices, all distances to the images in reach are computed, in blocks. The result is the same.

    Args:
        pos: positions [N, 3] in Å, float32 or float64.
        r: cutoff in Å.
        cell: rows are the cell vectors [3, 3] in Å; those along which nothing repeats do not matter.
        pbc: whether the structure repeats along each cell vector [3], bool.
        max_num_neighbors: if given, only that many nearest images are kept per target.

    Returns:
        `edge_index` [2, E], int64 (sources j, targets i), and `shift` [E, 3] in Å in the precision of `pos`, so
        that `edge_vec = pos[j] - pos[i] + shift`.

    Raises:
        ValueError: if an argument has the wrong shape, type or range, or cell vectors are not independent.

    Example:
        >>> cell, pbc = torch.eye(3) * 2.5, torch.tensor([True, False, False])
        >>> edge_index, shift = periodic_radius_graph(torch.zeros(1, 3), 3.0, cell, pbc)
        >>> edge_index.tolist(), shift.tolist()
        ([[0, 0], [0, 0]], [[-2.5, 0.0, 0.0], [2.5, 0.0, 0.0]])
    """
    r, limit = check_cutoff(r), check_max_num_neighbors(max_num_neighbors)
    pos, lattice = check_positions(pos), check_lattice(cell, pbc)
    if not any(lattice.repeats) or pos.shape[0] == 0:
        edge_index = radius_graph(pos, r, max_num_neighbors=limit)
        return edge_index, pos.new_zeros(edge_index.shape[1], 3)
    boxes = [h if p else float(x) for h, p, x in zip(lattice.heights, lattice.repeats, _extent(pos, lattice))]
    suits_vesin = pos.device.type == "cpu" and has_vesin() and fits_vesin(boxes, r)
    edge_index, image = (_vesin_images if suits_vesin else _dense_images)(pos, reach(pos, r), lattice)
    # `+ 0` turns the -0.0 that products leave into 0.0.
    shift = (image.double() @ lattice.vectors.to(pos.device) + 0.0).to(pos.dtype)
    source, target = edge_index
    distance = (pos.index_select(0, source) - pos.index_select(0, target) + shift).norm(dim=-1)
    keep = distance < r
    edge_index, shift, distance = edge_index[:, keep], shift[keep], distance[keep]
    if limit is not None:
        keep = nearest(edge_index[1], distance, limit)
        edge_index, shift = edge_index[:, keep], shift[keep]
    return edge_index, shift


def _extent(pos: Tensor, lattice: Lattice) -> list[float]:
    """Return the width of the atoms in Å along each lattice direction, which counts where nothing repeats."""
    along = pos.double() @ torch.linalg.inv(lattice.vectors).to(pos.device)
    widths: list[float] = (along.amax(0) - along.amin(0)).tolist()
    return widths


def _vesin_images(pos: Tensor, r: float, lattice: Lattice) -> tuple[Tensor, Tensor]:
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


def _dense_images(pos: Tensor, r: float, lattice: Lattice) -> tuple[Tensor, Tensor]:
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
