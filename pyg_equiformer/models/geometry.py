"""From positions and edges to what the layers take."""

from typing import NamedTuple

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..kernels import take_rows
from ..nn import BasisKind, polynomial_envelope, radial_basis
from ..o3 import SphericalHarmonics, unit_and_length


class EdgeFeatures(NamedTuple):
    """Geometry of the edges: vectors [E, 3] and lengths [E] in Å, harmonics, radial basis, smooth cutoff u [E]."""

    vec: Tensor
    length: Tensor
    sh: Tensor
    radial: Tensor
    envelope: Tensor


class EdgeGeometry(nn.Module):
    r"""Edge vectors, spherical harmonics and radial basis from positions.

    .. math:: r_{ij} = x_j - x_i + s_{ij}, \qquad Y_{lm}(\hat r_{ij}), \qquad φ_k(|r_{ij}|)

    Args:
        irreps_sh: irreps of the harmonics, e.g. "1x0e+1x1e+1x2e".
        cutoff: in Å.
        basis: "gaussian", "exp" or "bessel".
        num_basis: size of the basis, the `edge_dim` of a layer that takes it.

    Shapes:
        pos [N, 3] in Å, edge_index [2, E] (source j, target i), shift [E, 3] in Å (of the source's periodic
        image, optional) → edge_sh [E, irreps_sh.dim], edge_attr [E, num_basis]

    Raises:
        ValueError: for positions that are not finite or of another shape.

    Example:
        >>> geometry = EdgeGeometry("1x0e+1x1e+1x2e", cutoff=5.0)
        >>> pos, edge_index = torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]])
        >>> edge_sh, edge_attr = geometry(pos, edge_index)
        >>> edge_sh.shape, edge_attr.shape
        (torch.Size([2, 9]), torch.Size([2, 32]))
    """

    def __init__(
        self,
        irreps_sh: Irreps | str = "1x0e+1x1e+1x2e",
        *,
        cutoff: float = 5.0,
        basis: BasisKind = "exp",
        num_basis: int = 32,
    ) -> None:
        super().__init__()
        self.cutoff = float(cutoff)
        self.basis = radial_basis(basis, num_basis, self.cutoff)
        self.harmonics = SphericalHarmonics(irreps_sh)

    @property
    def irreps_sh(self) -> Irreps:
        return self.harmonics.irreps_sh

    def forward(self, pos: Tensor, edge_index: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.features(pos, edge_index, shift)
        return features.sh, features.radial

    def features(self, pos: Tensor, edge_index: Tensor, shift: Tensor | None = None) -> EdgeFeatures:
        """Return all that is known of the edges, the smooth cutoff included."""
        check_positions(pos)
        vec = take_rows(pos, edge_index[0]) - take_rows(pos, edge_index[1])
        if shift is not None:
            if shift.shape != vec.shape:
                raise ValueError(f"shift must have shape {tuple(vec.shape)}, got {tuple(shift.shape)}")
            vec = vec + shift
        unit, length = unit_and_length(vec)
        return EdgeFeatures(
            vec, length, self.harmonics.of_unit(unit), self.basis(length), polynomial_envelope(length / self.cutoff)
        )


def check_positions(pos: Tensor) -> None:
    """Raise a ValueError unless `pos` is a finite floating point tensor [N, 3]."""
    if not isinstance(pos, Tensor) or pos.dim() != 2 or pos.shape[1] != 3 or not pos.is_floating_point():
        got = f"{tuple(pos.shape)} {pos.dtype}" if isinstance(pos, Tensor) else type(pos).__name__
        raise ValueError(f"pos must be a floating point tensor of shape [N, 3], got {got}")
    if torch.compiler.is_compiling():
        return
    finite = torch.isfinite(pos.detach()).all(dim=1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise ValueError(f"pos must be finite, got {pos[first].tolist()} for atom {first}")
