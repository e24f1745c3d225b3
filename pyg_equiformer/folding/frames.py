"""Rigid frames: a rotation and an origin for each group, their fit to atoms, composition and interpolation."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frames:
    r"""Rigid motions from the place of a template to that of a group.

    .. math:: x \mapsto R x + T

    Args:
        rotation: R [..., 3, 3].
        origin: T [..., 3] in Å.

    Example:
        >>> quarter = quaternion_to_matrix(torch.tensor([1.0, 0.0, 0.0, 1.0]))  # about z
        >>> frames = Frames(quarter, torch.tensor([0.0, 0.0, 5.0]))
        >>> moved = frames.apply(torch.tensor([[1.0, 0.0, 0.0]]))
        >>> moved.round().int().tolist(), frames.local(moved).round().int().tolist()
        ([[0, 1, 5]], [[1, 0, 0]])
        >>> frames.compose(frames).origin.tolist()
        [0.0, 0.0, 10.0]
    """

    rotation: Tensor
    origin: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Move points [..., A, 3] of each frame from its template to their place."""
        return points @ self.rotation.transpose(-1, -2) + self.origin.unsqueeze(-2)

    def local(self, points: Tensor) -> Tensor:
        """Return points [..., A, 3] as seen from each frame: the inverse of `apply`."""
        return (points - self.origin.unsqueeze(-2)) @ self.rotation

    def compose(self, inner: "Frames") -> "Frames":
        """Return the motion that does `inner` first, then this one."""
        origin = (self.rotation @ inner.origin.unsqueeze(-1)).squeeze(-1) + self.origin
        return Frames(self.rotation @ inner.rotation, origin)

    def __getitem__(self, index: Any) -> "Frames":
        """Return some of the frames, as indexing a tensor of them would."""
        return Frames(self.rotation[index], self.origin[index])


def fit_frames(template: Tensor, target: Tensor, mask: Tensor) -> Frames:
    r"""Return the frames that bring templates nearest to their targets (Kabsch, Acta Cryst. A32, 922 (1976)).

    .. math:: \min_{R, T} \sum_a m_a \left| R t_a + T - x_a \right|^2, \quad \det R = 1

    Args:
        template: t [..., A, 3] in Å.
        target: x [..., A, 3] in Å; anything, even NaN, where the mask is False.
        mask: m [..., A], which atoms count. Three that are not on a line decide a frame.

    Shapes:
        → frames [...]

    Raises:
        ValueError: if template, target and mask are of other shapes than these.

    Example:
        >>> template = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        >>> frames = fit_frames(template, template + torch.tensor([0.0, 0.0, 4.0]), torch.ones(3, dtype=torch.bool))
        >>> frames.rotation.allclose(torch.eye(3), atol=1e-6), frames.origin.round().int().tolist()
        (True, [0, 0, 4])
    """
    if target.shape != (*mask.shape, 3) or template.shape[-2:] != target.shape[-2:]:
        raise ValueError(
            f"expected template and target [..., A, 3] and mask [..., A], got {list(template.shape)}, "
            f"{list(target.shape)} and {list(mask.shape)}"
        )
    weight = mask.to(template.dtype).unsqueeze(-1)
    count = weight.sum(-2, keepdim=True).clamp(min=1)
    target = torch.where(mask.unsqueeze(-1), target, torch.zeros_like(target))
    at, to = ((x * weight).sum(-2, keepdim=True) / count for x in (template, target))
    covariance = ((template - at) * weight).transpose(-1, -2) @ (target - to)
    u, _, vh = torch.linalg.svd(covariance)
    v, ut = vh.transpose(-1, -2), u.transpose(-1, -2)
    # Flat groups fit their mirror image as well: of the two the proper rotation is taken.
    sign = torch.ones_like(covariance[..., 0])
    sign[..., 2] = torch.linalg.det(v @ ut).sign()
    rotation = (v * sign.unsqueeze(-2)) @ ut
    origin = to.squeeze(-2) - (rotation @ at.transpose(-1, -2)).squeeze(-1)
    return Frames(rotation, origin)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Return the rotation [..., 3, 3] of a quaternion (w, x, y, z) [..., 4] of any length but zero.

    Raises:
        ValueError: if the last axis has not four entries.

    Example:
        >>> quaternion_to_matrix(torch.tensor([2.0, 0.0, 0.0, 0.0])).equal(torch.eye(3))
        True
    """
    if quaternion.shape[-1] != 4:
        raise ValueError(f"expected quaternions [..., 4], got shape {tuple(quaternion.shape)}")
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quaternion(rotation: Tensor) -> Tensor:
    """Return the quaternion (w, x, y, z) [..., 4] of length 1 with w ≥ 0 of a rotation [..., 3, 3].

    The largest of the four entries is found first, so that no angle is lost to rounding (Shepperd, J. Guidance and
    Control 1, 223 (1978)).

    Raises:
        ValueError: if the last axes have not three entries each.

    Example:
        >>> half = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))  # a half turn about z
        >>> matrix_to_quaternion(half).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    if rotation.shape[-2:] != (3, 3):
        raise ValueError(f"expected rotations [..., 3, 3], got shape {tuple(rotation.shape)}")
    m = rotation
    diagonal = torch.stack([m[..., i, i] for i in range(3)], dim=-1)
    trace = diagonal.sum(-1, keepdim=True)
    # Squares of the four entries, times four; the largest is far from zero, and gives the others their signs.
    squares = torch.cat([1 + trace, 1 - trace + 2 * diagonal], dim=-1)
    d = [m[..., i, j] - m[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))]
    s = [m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2))]
    products = torch.stack(
        [
            torch.stack([squares[..., 0], *d], -1),
            torch.stack([d[0], squares[..., 1], s[0], s[1]], -1),
            torch.stack([d[1], s[0], squares[..., 2], s[2]], -1),
            torch.stack([d[2], s[1], s[2], squares[..., 3]], -1),
        ],
        dim=-2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    found = products.gather(-2, best).squeeze(-2)
    found = found / found.norm(dim=-1, keepdim=True)
    return torch.where(found[..., :1] < 0, -found, found)


def interpolate(start: Frames, end: Frames, share: Tensor | float) -> Frames:
    r"""Return frames on the way from one to another: origins along a line, rotations along the shortest arc (slerp).

    .. math:: R_s = R_0 \exp\left(s \log(R_0^{-1} R_1)\right), \qquad T_s = T_0 + s\,(T_1 - T_0)

    Shoemake, Computer Graphics (SIGGRAPH) 19, 245 (1985).

    Args:
        start: frames at share 0 [...].
        end: frames at share 1 [...].
        share: s, one for all, or one per frame [...].

    Shapes:
        → frames [...]

    Example:
        >>> turn = quaternion_to_matrix(torch.tensor([0.0, 0.0, 0.0, 1.0]))  # a half turn about z
        >>> start, end = Frames(torch.eye(3), torch.zeros(3)), Frames(turn, torch.tensor([4.0, 0.0, 0.0]))
        >>> middle = interpolate(start, end, 0.5)
        >>> middle.rotation.round().int().tolist(), middle.origin.tolist()  # a quarter turn
        ([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [2.0, 0.0, 0.0])
    """
    share = torch.as_tensor(share, dtype=start.origin.dtype, device=start.origin.device).unsqueeze(-1)
    turn = matrix_to_quaternion(start.rotation.transpose(-1, -2) @ end.rotation)
    axis = turn[..., 1:]
    sine = axis.norm(dim=-1, keepdim=True)
    half = torch.atan2(sine, turn[..., :1]) * share
    axis = torch.where(sine > 0, axis / sine.clamp(min=torch.finfo(axis.dtype).tiny), torch.zeros_like(axis))
    part = torch.cat([half.cos().expand_as(turn[..., :1]), axis * half.sin()], dim=-1)
    return Frames(start.rotation @ quaternion_to_matrix(part), start.origin + share * (end.origin - start.origin))


def random_frames(count: int, spread: float, generator: torch.Generator | None = None) -> Frames:
    """Return frames with rotations that are uniform in SO(3), and origins that are normal.

    Args:
        count: G.
        spread: standard deviation of each coordinate of the origins in Å; 0: all at one point.
        generator: of the random numbers, for a repeatable start.

    Shapes:
        → frames [G]

    Example:
        >>> frames = random_frames(5, spread=10.0, generator=torch.Generator().manual_seed(0))
        >>> frames.rotation.shape, frames.origin.shape
        (torch.Size([5, 3, 3]), torch.Size([5, 3]))
    """
    quaternion = torch.randn(count, 4, generator=generator)
    return Frames(quaternion_to_matrix(quaternion), spread * torch.randn(count, 3, generator=generator))
