"""The coupling matrices of the edges of a graph, shared by all layers that couple the same irreps."""

from torch import Tensor

from ..kernels import NeighborTable, pair_matrices
from .depthwise_tensor_product import DepthwiseTensorProduct


class Couplings:
    """Coupling matrices of some edges, each made when it is first asked for.

    Args:
        edge_sh: harmonics [E, S].
        table: the edges of each target, for the matrices in its order.

    Example:
        >>> import torch
        >>> product = DepthwiseTensorProduct("4x0e+2x1e", irreps_sh="0e+1e", irreps_filter="0e+1e")
        >>> couplings = Couplings(torch.randn(5, 4))
        >>> [tuple(t.shape) for t in couplings.of(product)]
        [(5, 1, 4), (5, 3, 7)]
    """

    def __init__(self, edge_sh: Tensor, table: NeighborTable | None = None) -> None:
        self.edge_sh, self.table = edge_sh, table
        self._made: dict[str, list[Tensor]] = {}
        self._pairs: dict[str, list[Tensor]] = {}
        self._gathered: dict[str, list[Tensor]] = {}

    def of(self, product: DepthwiseTensorProduct) -> list[Tensor]:
        """Return the matrices of a product, per input type [E, d_in, R]."""
        key = product.plan.key
        if key not in self._made:
            self._made[key] = product.matrices(self.edge_sh)
        return self._made[key]

    def pairs(self, product: DepthwiseTensorProduct) -> list[Tensor]:
        """Return the matrices of a product pair by pair, see `kernels.pair_matrices`."""
        key = product.plan.key
        if key not in self._pairs:
            self._pairs[key] = pair_matrices(product.plan, self.of(product))
        return self._pairs[key]

    def gathered(self, product: DepthwiseTensorProduct) -> list[Tensor]:
        """Return the matrices of a product in the order of the table, per input type [N, K, d_in, R]."""
        assert self.table is not None  # asked for on the path with a table only
        key = product.plan.key
        if key not in self._gathered:
            self._gathered[key] = [self.table.gather(t) for t in self.of(product)]
        return self._gathered[key]
