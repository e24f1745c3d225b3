"""What every group is told of the whole protein, as sparse edges carry it a few steps only."""

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..nn import EquivariantNorm, Linear
from ..o3 import Blocks, Layout
from .frame_features import FrameFeatures
from .frame_update import frame_of, mean_of


class Overview(nn.Module):
    r"""Add to each group the mean features of its protein, where it stands from the middle, and a common frame.

    .. math:: h_g \leftarrow h_g + W n_P + V\, \frac{T_g - \bar T_P}{s} + D(F_P)\, c[t_g], \quad
        n_P = \mathrm{norm}\big\langle h_{g'} \big\rangle_{g' \in P}, \quad F_P = \mathrm{GramSchmidt}(U n_P)

    From frames that are random, groups that are far apart agree on directions by this; its cost is linear in groups.

    Args:
        irreps: of the features.
        num_types: kinds t of groups.
        scale: s in Å.

    Shapes:
        blocks of irreps for G groups, types [G], origins T [G, 3] in Å, protein of each group [G] → blocks

    Example:
        >>> overview = Overview("4x0e+2x1e", num_types=5, scale=10.0)
        >>> x, zero = [torch.randn(3, 1, 4), torch.randn(3, 3, 2)], torch.zeros(3, dtype=torch.long)
        >>> [b.shape for b in overview(x, zero, torch.randn(3, 3), batch=zero, num_proteins=1)]
        [torch.Size([3, 1, 4]), torch.Size([3, 3, 2])]
    """

    def __init__(self, irreps: Irreps | str, num_types: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.norm = EquivariantNorm(irreps)
        self.lin = Linear(irreps, irreps, bias=False)
        self.with_vectors = any(ir.l == 1 for ir in Layout(irreps).types)
        if self.with_vectors:
            self.lin_place = Linear("1x1e", irreps, bias=False)
            self.lin_axes = Linear(irreps, "2x1e", bias=False)
            self.common = FrameFeatures(irreps, num_types)

    def reset_parameters(self) -> None:
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Blocks, types: Tensor, origin: Tensor, batch: Tensor, num_proteins: int) -> Blocks:
        seen = self.norm.blocks([mean_of(block, batch, num_proteins) for block in x])
        out = [a + b[batch] for a, b in zip(x, self.lin.blocks(seen))]
        if not self.with_vectors:
            return out
        place = (origin - mean_of(origin, batch, num_proteins)[batch]) / self.scale
        first, second = self.lin_axes.blocks(seen)[0].unbind(2)
        frame = frame_of(first, second, torch.eye(3).to(first))[batch]
        parts = (out, self.lin_place.blocks([place.unsqueeze(2)]), self.common(types, frame))
        return [a + b + c for a, b, c in zip(*parts)]
