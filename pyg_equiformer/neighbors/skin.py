"""`SkinNeighbors`: the neighbours of atoms that move little between calls, without a search at each."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .cells import check_lattice
from .inputs import check_cutoff, check_positions
from .pairs import reach
from .periodic import image_shift, periodic_edges
from .radius_graph import radius_graph


class _Built(NamedTuple):
    """A list with the wider cutoff, and where the atoms were then.

    Attributes:
        edge_index: all pairs nearer than cutoff + skin [2, P].
        image: of their sources, by its number [P, 3]; None where nothing repeats.
        pos: positions [N, 3] in Å, float64.
        vectors: cell vectors [3, 3] in Å, float64, completed where nothing repeats; None likewise.
        pbc: along which vectors the structure repeats.
    """

    edge_index: Tensor
    image: Tensor | None
    pos: Tensor
    vectors: Tensor | None
    pbc: tuple[bool, ...]


class SkinNeighbors:
    r"""Neighbours within a cutoff, from a list with a wider one that serves until atoms have moved too far.

    With :math:`F` the matrix that maps the cell of the list onto the present one (1 where it is the same) and
    :math:`u_i = x_i - x_i^0 F` what an atom moved beyond that, no pair that the list left out can be nearer than the
    cutoff as long as

    .. math:: \sigma_\mathrm{min}(F)\,(r + \mathrm{skin}) - 2 \max_i \lVert u_i \rVert \geq r,

    in a cell that stays, as long as no atom moved more than half the skin. The list is then reused, and what is
    farther than the cutoff is dropped: edges, their order and their shifts are those of a fresh search, to the last
    bit. So a cell that breathes a little, as under a barostat, needs no search either.

    Args:
        cutoff: r in Å.
        skin: what the list is wider in Å; 0 searches at every call.

    Attributes:
        rebuilds: searches so far.
        calls: calls so far.
        num_edges: edges found by the last call.

    Shapes:
        pos [N, 3] in Å, cell [3, 3] in Å and pbc [3] → edge_index [2, E], and shift [E, 3] in Å as of
        `periodic_radius_graph`; without a cell, or where nothing repeats, edges of `radius_graph` and None.

    Raises:
        ValueError: if cutoff or skin is out of range; when called, as in these two functions.

    Example:
        >>> neighbors = SkinNeighbors(2.5, skin=1.0)
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [2.4, 0.0, 0.0]])
        >>> for x in (2.4, 2.6, 2.4):
        ...     pos[1, 0] = x
        ...     print(neighbors(pos)[0].shape[1])
        2
        0
        2
        >>> neighbors.rebuilds, neighbors.calls
        (1, 3)
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        self.cutoff = check_cutoff(cutoff)
        if isinstance(skin, bool) or not isinstance(skin, int | float) or not 0 <= skin < math.inf:
            raise ValueError(f"expected the skin to be a finite number of Å, at least 0, got {skin!r}")
        self.skin = float(skin)
        self.rebuilds = self.calls = self.num_edges = 0
        self._built: _Built | None = None

    @torch.no_grad()
    def __call__(
        self, pos: Tensor, cell: Tensor | None = None, pbc: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        pos = check_positions(pos)
        if (cell is None) != (pbc is None):
            raise ValueError("expected cell and pbc, or neither of them, got one")
        vectors, repeats = None, (False, False, False)
        if cell is not None and pbc is not None and bool(pbc.any()):
            lattice = check_lattice(cell, pbc)
            vectors, repeats = lattice.vectors, lattice.repeats
        self.calls += 1
        if self._built is None or not self._serves(self._built, pos, vectors, repeats):
            self._built = self._search(pos, cell, pbc, vectors, repeats)
            self.rebuilds += 1
        found = self._nearer(self._built, pos, vectors)
        self.num_edges = found[0].shape[1]
        return found

    def _search(
        self, pos: Tensor, cell: Tensor | None, pbc: Tensor | None, vectors: Tensor | None, repeats: tuple[bool, ...]
    ) -> _Built:
        wide, then = self.cutoff + self.skin, pos.double().clone()  # callers move atoms in place
        if vectors is None:
            return _Built(radius_graph(pos, wide), None, then, None, repeats)
        assert cell is not None  # where there are vectors
        assert pbc is not None
        edge_index, image = periodic_edges(pos, wide, cell, pbc)
        return _Built(edge_index, image, then, vectors, repeats)

    def _serves(self, built: _Built, pos: Tensor, vectors: Tensor | None, repeats: tuple[bool, ...]) -> bool:
        """Return whether no pair that the list left out can be nearer than the cutoff."""
        if self.skin == 0 or built.pbc != repeats or built.pos.shape != pos.shape or built.pos.device != pos.device:
            return False
        if pos.shape[0] == 0:
            return True
        then, least = built.pos, 1.0
        if vectors is not None and built.vectors is not None and not torch.equal(vectors, built.vectors):
            deformation = torch.linalg.solve(built.vectors, vectors)
            least = float(torch.linalg.svdvals(deformation)[-1])
            then = then @ deformation.to(pos.device)
        moved = float((pos.double() - then).norm(dim=1).max())
        # A bit more than the cutoff, as distances are rounded in the precision of the positions.
        return least * (self.cutoff + self.skin) - 2 * moved >= reach(pos, self.cutoff)

    def _nearer(self, built: _Built, pos: Tensor, vectors: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the edges of the list that are nearer than the cutoff, decided as in a fresh search."""
        source, target = built.edge_index
        vec = pos.index_select(0, source) - pos.index_select(0, target)
        shift = None
        if built.image is not None and vectors is not None:
            shift = image_shift(built.image, vectors.to(pos.device)).to(pos.dtype)
            vec = vec + shift
        keep = vec.norm(dim=-1) < self.cutoff
        return built.edge_index[:, keep], None if shift is None else shift[keep]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(cutoff={self.cutoff}, skin={self.skin})"
