"""Pairs within a cutoff in periodic structures, images of the atoms in neighbouring cells included."""

from typing import NamedTuple

import torch
from torch import Tensor

from .cells import Lattice, check_lattice
from .inputs import check_batch, check_cutoff, check_max_num_neighbors, check_positions
from .libraries import fits_vesin, has_vesin
from .pairs import nearest, reach
from .periodic_search import check_size, dense_images, extent, vesin_images
from .radius_graph import radius_graph


class PeriodicEdges(NamedTuple):
    """Neighbours in periodic structures.

    Attributes:
        edge_index: [2, E], int64, sources j and targets i, sorted by target, then source, then image.
        image: [E, 3], int64: by how many cell vectors the source is moved, n.
    """

    edge_index: Tensor
    image: Tensor


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
@torch.no_grad()
def periodic_edges(
    pos: Tensor,
    r: float,
    cell: Tensor,
    pbc: Tensor,
    batch: Tensor | None = None,
    max_num_neighbors: int | None = None,
) -> PeriodicEdges:
    r"""Connect all atoms of periodic structures, and their images, that are closer than `r`.

    .. math::
        \{(j, i, n) : \lVert \mathrm{pos}_j - \mathrm{pos}_i + n\,\mathrm{cell} \rVert < r,\;
        \mathrm{batch}_j = \mathrm{batch}_i\},
        \quad n \in \mathbb{Z}^3, \; n_k = 0 \text{ where } \mathrm{pbc}_k \text{ is False}

    An atom is its own neighbour through its images, never through itself. Any cell will do: sheared, thinner
    than the cutoff, periodic in one or two directions only or in none, with atoms outside of it. What is near is
    decided on the edge vectors in the precision of `pos`. With the images, edge vectors are a function of positions
    and cell that can be differentiated:

    .. math:: r_{ij} = \mathrm{pos}_j - \mathrm{pos}_i + n_{ij}\,\mathrm{cell}

    (`periodic_vectors`). On the CPU, vesin (extra `train`) searches in linear time where it is installed; otherwise,
    and on other devices, all distances to the images in reach are computed, in blocks. The result is the same.

    Args:
        pos: positions [N, 3] in Å, float32 or float64.
        r: cutoff in Å.
        cell: rows are the cell vectors [B, 3, 3] in Å, or [3, 3]; those along which nothing repeats do not matter.
        pbc: whether the structure repeats along each cell vector [B, 3], or [3], bool.
        batch: structure of each atom [N], integers from 0 to B - 1 in any order; None for one structure.
        max_num_neighbors: if given, only that many nearest images are kept per target.

    Returns:
        `PeriodicEdges`.

    Raises:
        ValueError: if an argument has the wrong shape, type or range, a position is not finite, cell vectors are not
            independent, or the cutoff gives more neighbours than memory holds.

    Example:
        >>> cell, pbc = torch.eye(3) * 2.5, torch.tensor([True, False, False])
        >>> edge_index, image = periodic_edges(torch.zeros(1, 3), 3.0, cell, pbc)
        >>> edge_index.tolist(), image.tolist()
        ([[0, 0], [0, 0]], [[-1, 0, 0], [1, 0, 0]])
    """
    r, limit = check_cutoff(r), check_max_num_neighbors(max_num_neighbors)
    pos = check_positions(pos)
    cell, pbc = _one_per_structure(cell, pbc)
    order, sizes = _by_structure(pos, batch, cell.shape[0])
    edges, images, start = [], [], 0
    for graph, size in enumerate(sizes):
        stop = start + size
        atoms = slice(start, stop) if order is None else order[start:stop]
        found = _edges_of_one(pos[atoms].contiguous(), r, check_lattice(cell[graph], pbc[graph]), limit)
        edges.append(found.edge_index + start)
        images.append(found.image)
        start = stop
    edge_index = torch.cat([pos.new_empty(2, 0, dtype=torch.int64), *edges], dim=1)
    image = torch.cat([pos.new_empty(0, 3, dtype=torch.int64), *images])
    if order is None:
        return PeriodicEdges(edge_index, image)
    edge_index = order[edge_index]
    sort = edge_index[1].argsort(stable=True)
    return PeriodicEdges(edge_index[:, sort], image[sort])


def image_shift(image: Tensor, cell: Tensor, graph: Tensor | None = None) -> Tensor:
    r"""Return the shifts :math:`n\,\mathrm{cell}` [E, 3] in Å, to be differentiated by the cell.

    Args:
        image: [E, 3], integers.
        cell: [B, 3, 3] in Å, or [3, 3].
        graph: structure of each edge [E], `batch[edge_index[1]]`; None for one structure.

    Example:
        >>> image_shift(torch.tensor([[0, 2, -1]]), torch.eye(3) * 3)
        tensor([[ 0.,  6., -3.]])
    """
    cells = cell.reshape(-1, 3, 3).double()
    if graph is None and cells.shape[0] != 1:
        raise ValueError(f"expected the structure of each edge (graph [E]) for {cells.shape[0]} cells, got None")
    rows = cells if graph is None or cells.shape[0] == 1 else cells.index_select(0, graph)
    a, b, c = image.to(torch.float64).unsqueeze(2).unbind(1)
    # Term by term, so that batches round as single structures do; `+ 0` turns the -0.0 of products into 0.0.
    return (a * rows[:, 0] + b * rows[:, 1] + c * rows[:, 2] + 0.0).to(cell.dtype)


def periodic_vectors(pos: Tensor, edges: PeriodicEdges, cell: Tensor, batch: Tensor | None = None) -> Tensor:
    r"""Return the edge vectors [E, 3] in Å, to be differentiated by positions and cell.

    .. math:: r_{ij} = \mathrm{pos}_j - \mathrm{pos}_i + n_{ij}\,\mathrm{cell}

    Args:
        pos: positions [N, 3] in Å.
        edges: of `periodic_edges`.
        cell: [B, 3, 3] in Å, or [3, 3].
        batch: structure of each atom [N]; None for one structure.

    Example:
        >>> pos, cell = torch.zeros(1, 3), torch.eye(3) * 2.5
        >>> edges = periodic_edges(pos, 3.0, cell, torch.tensor([True, False, False]))
        >>> periodic_vectors(pos, edges, cell).tolist()
        [[-2.5, 0.0, 0.0], [2.5, 0.0, 0.0]]
    """
    source, target = edges.edge_index
    graph = None if batch is None else batch.index_select(0, target)
    shift = image_shift(edges.image, cell.double(), graph).to(pos.dtype)
    return pos.index_select(0, source) - pos.index_select(0, target) + shift


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
@torch.no_grad()
def periodic_radius_graph(
    pos: Tensor,
    r: float,
    cell: Tensor,
    pbc: Tensor,
    max_num_neighbors: int | None = None,
    batch: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Connect what `periodic_edges` connects, and return the shift of each source's image in place of its number.

    The result carries no gradient.

    Args:
        pos: positions [N, 3] in Å, float32 or float64.
        r: cutoff in Å.
        cell: rows are the cell vectors [3, 3] in Å, or [B, 3, 3]; those along which nothing repeats do not matter.
        pbc: whether the structure repeats along each cell vector [3], or [B, 3], bool.
        max_num_neighbors: if given, only that many nearest images are kept per target.
        batch: structure of each atom [N]; None for one structure.

    Returns:
        `edge_index` [2, E], int64 (sources j, targets i), and `shift` [E, 3] in Å in the precision of `pos`, so
        that `edge_vec = pos[j] - pos[i] + shift`.

    Raises:
        ValueError: as `periodic_edges`.

    Example:
        >>> cell, pbc = torch.eye(3) * 2.5, torch.tensor([True, False, False])
        >>> edge_index, shift = periodic_radius_graph(torch.zeros(1, 3), 3.0, cell, pbc)
        >>> edge_index.tolist(), shift.tolist()
        ([[0, 0], [0, 0]], [[-2.5, 0.0, 0.0], [2.5, 0.0, 0.0]])
    """
    edge_index, image = periodic_edges(pos, r, cell, pbc, batch, max_num_neighbors)
    cells, repeats = _one_per_structure(cell, pbc)
    known = torch.where(repeats.unsqueeze(2), cells.detach().double(), 0.0)
    graph = edge_index.new_zeros(edge_index.shape[1]) if batch is None else batch.long()[edge_index[1]]
    return edge_index, image_shift(image, known, graph).to(pos.dtype)


def _one_per_structure(cell: Tensor, pbc: Tensor) -> tuple[Tensor, Tensor]:
    """Return cells [B, 3, 3] and pbc [B, 3]."""
    if not (isinstance(cell, Tensor) and isinstance(pbc, Tensor)) or (cell.dim() != 3 and pbc.dim() != 2):
        check_lattice(cell, pbc)
        return cell.unsqueeze(0), pbc.unsqueeze(0)
    if cell.dim() != 3 or cell.shape[1:] != (3, 3) or not cell.is_floating_point():
        raise ValueError(f"expected cell as a floating point tensor of shape [B, 3, 3], got {list(cell.shape)}")
    if pbc.shape != cell.shape[:2] or pbc.dtype != torch.bool:
        raise ValueError(f"expected pbc as a bool tensor of shape {[len(cell), 3]}, got {list(pbc.shape)} {pbc.dtype}")
    return cell, pbc


def _by_structure(pos: Tensor, batch: Tensor | None, num_graphs: int) -> tuple[Tensor | None, list[int]]:
    """Return an order of the atoms by structure (None: as they are), and the number of atoms of each structure."""
    if batch is None:
        if num_graphs != 1:
            raise ValueError(f"expected batch [{pos.shape[0]}] for {num_graphs} cells, got None")
        return None, [pos.shape[0]]
    check_batch(batch, pos)
    if batch.numel() and not (int(batch.min()) >= 0 and int(batch.max()) < num_graphs):
        low, high = int(batch.min()), int(batch.max())
        raise ValueError(f"expected batch from 0 to {num_graphs - 1} for {num_graphs} cells, got {low} to {high}")
    sizes: list[int] = torch.bincount(batch, minlength=num_graphs).tolist()
    if bool((batch[1:] >= batch[:-1]).all()):
        return None, sizes
    return batch.argsort(stable=True), sizes


def _edges_of_one(pos: Tensor, r: float, lattice: Lattice, limit: int | None) -> PeriodicEdges:
    if not any(lattice.repeats) or pos.shape[0] == 0:
        edge_index = radius_graph(pos, r, max_num_neighbors=limit)
        return PeriodicEdges(edge_index, torch.zeros_like(edge_index[:1]).expand(3, -1).t().contiguous())
    boxes = [h if p else float(x) for h, p, x in zip(lattice.heights, lattice.repeats, extent(pos, lattice))]
    check_size(pos.shape[0], r, boxes, lattice.repeats)
    suits_vesin = pos.device.type == "cpu" and has_vesin() and fits_vesin(boxes, r)
    edge_index, image = (vesin_images if suits_vesin else dense_images)(pos, reach(pos, r), lattice)
    shift = image_shift(image, lattice.vectors.to(pos.device)).to(pos.dtype)
    source, target = edge_index
    distance = (pos.index_select(0, source) - pos.index_select(0, target) + shift).norm(dim=-1)
    keep = distance < r
    edge_index, image, distance = edge_index[:, keep], image[keep], distance[keep]
    if limit is not None:
        keep = nearest(edge_index[1], distance, limit)
        edge_index, image = edge_index[:, keep], image[keep]
    return PeriodicEdges(edge_index, image)
