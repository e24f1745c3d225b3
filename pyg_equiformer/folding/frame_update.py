"""How the network of a block moves frames."""

import torch
from torch import Tensor, nn

from ..kernels import segment_sum
from ..o3 import unit_and_length
from .frames import Frames

SMALL = 1e-3  #: a direction that is shorter is not taken


class FrameUpdate(nn.Module):
    r"""Move frames by three vectors per group, as far as two gates let go of where they are.

    .. math::
        T \leftarrow \bar T + g_T (T - \bar T) + s\, τ, \qquad
        R \leftarrow \mathrm{GramSchmidt}(g_R R e_1 + a_1,\ g_R R e_2 + a_2)

    with the middle :math:`\bar T` of the protein and gates of the scalars of the group. The publication adds τ and
    multiplies with a quaternion; neither can let go of a frame that began at random, and in our trials a model with
    those did not learn in the time in which this one did. Two directions (arXiv 1812.07035) have no jumps either; where
    they vanish or are parallel the frame keeps its rotation.

    Args:
        scalars: number of scalars of a group.
        scale: s in Å.

    Shapes:
        frames of G groups, vectors [G, 3, 3] (τ, a₁, a₂), scalars [G, scalars], protein of each group [G] → frames
    """

    def __init__(self, scalars: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.gates = nn.Linear(scalars, 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.gates.weight)
        nn.init.ones_(self.gates.bias)

    def forward(self, frames: Frames, vectors: Tensor, scalars: Tensor, batch: Tensor, num_proteins: int) -> Frames:
        keep = torch.sigmoid(self.gates(scalars)).unsqueeze(2)
        middle = mean_of(frames.origin, batch, num_proteins)[batch]
        origin = middle + keep[:, 0] * (frames.origin - middle) + self.scale * vectors[:, 0]
        axes = keep[:, 1:] * frames.rotation.transpose(1, 2)[:, :2] + vectors[:, 1:]
        return Frames(frame_of(axes[:, 0], axes[:, 1], frames.rotation), origin)


def mean_of(x: Tensor, batch: Tensor, num_proteins: int) -> Tensor:
    """Return the mean of the rows of x [G, …] of each protein [num_proteins, …]."""
    count = segment_sum(torch.ones_like(batch, dtype=x.dtype), batch, num_proteins).clamp(min=1)
    return segment_sum(x, batch, num_proteins) / count.view(-1, *[1] * (x.dim() - 1))


def frame_of(first: Tensor, second: Tensor, otherwise: Tensor) -> Tensor:
    r"""Return the rotations whose first axis is along one vector, and whose second is in the plane of both.

    .. math:: x = \hat a, \quad y = \widehat{b - (x \cdot b)\, x}, \quad z = x \times y

    Args:
        first, second: a and b [G, 3].
        otherwise: rotation [G, 3, 3] (or one for all) where the vectors vanish or are parallel.

    Shapes:
        → [G, 3, 3], the axes as columns

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[1.0, 3.0, 0.0]])
        >>> frame_of(x, y, torch.eye(3)).equal(torch.eye(3)[None])
        True
    """
    x, length = unit_and_length(first)
    y = second - (x * second).sum(-1, keepdim=True) * x
    y, width = unit_and_length(y)
    fine = ((length > SMALL) & (width > SMALL)).view(-1, 1, 1)
    found = torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
    return torch.where(fine, found, otherwise.expand_as(found))
