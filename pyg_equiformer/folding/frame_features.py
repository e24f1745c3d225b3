"""Features that stand still in a frame, as seen from outside."""

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..o3 import Blocks, Layout, SphericalHarmonics


class FrameFeatures(nn.Module):
    r"""Learned features of each kind of group, turned with its frame.

    .. math:: h_l = D^l(R)\, c_l[t], \qquad D^1(R) = R

    Args:
        irreps: of the features.
        num_types: kinds t of groups.
        std: of the first values.

    Shapes:
        types [G], rotation R [G, 3, 3] → blocks [G, 2l+1, C]; those of l = 0 are zero, as the network embeds the kinds
        itself.

    Example:
        >>> features = FrameFeatures("4x0e+2x1e", num_types=3)
        >>> [b.shape for b in features(torch.tensor([0, 2]), torch.eye(3).expand(2, 3, 3))]
        [torch.Size([2, 1, 4]), torch.Size([2, 3, 2])]
    """

    def __init__(self, irreps: Irreps | str, num_types: int, std: float = 1.0) -> None:
        super().__init__()
        self.std = std
        layout = Layout(irreps)
        self.degrees, self.channels = [ir.l for ir in layout.types], layout.channels
        self.coefficients = nn.ParameterList(
            nn.Parameter(torch.empty(num_types, 2 * l + 1, mul)) for l, mul in zip(self.degrees, self.channels) if l
        )
        self.harmonics = SphericalHarmonics(Irreps.spherical_harmonics(max(1, *self.degrees), p=1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for coefficients in self.coefficients:
            nn.init.normal_(coefficients, std=self.std)

    def forward(self, types: Tensor, rotation: Tensor) -> Blocks:
        out, learned = [], iter(self.coefficients)
        for l, mul in zip(self.degrees, self.channels):
            if l == 0:
                out.append(rotation.new_zeros(len(types), 1, mul))
            else:
                out.append(turn_matrix(rotation, l, self.harmonics) @ next(learned)[types])
        return out


def turn_matrix(rotation: Tensor, l: int, harmonics: SphericalHarmonics) -> Tensor:
    r"""Return how spherical harmonics of degree l turn, :math:`Y_l(R u) = D^l(R) Y_l(u)`.

    Args:
        rotation: R [G, 3, 3].
        l: degree; harmonics know all degrees up to theirs.
        harmonics: "1x0e+1x1e+…".

    Shapes:
        → [G, 2l+1, 2l+1]
    """
    if l == 1:
        return rotation
    # Harmonics of more directions than there are components tell the matrix.
    generator = torch.Generator().manual_seed(l)
    points = torch.nn.functional.normalize(torch.randn(4 * l + 2, 3, generator=generator, dtype=torch.float64), dim=1)
    points = points.to(rotation)
    columns = slice(l * l, (l + 1) ** 2)
    at = harmonics.of_unit(points)[:, columns]
    turned = harmonics.of_unit((points @ rotation.transpose(1, 2)).flatten(0, 1))[:, columns]
    return (torch.linalg.pinv(at) @ turned.unflatten(0, (-1, len(points)))).transpose(1, 2)
