r"""The rotation-aligned product (eSCN, arXiv 2302.03655): couple in a frame where the edge is the y axis.

With a rotation R that takes the direction of an edge to the y axis, on which harmonics have m = 0 only,

.. math:: x \otimes Y(\hat r) = D(R)^T \, \big( D(R)\, x \otimes Y(\hat y) \big)

The inner product is the same for all edges and couples m with ±m alone; so min(l_in, l_out) bounds the components
that are needed, and no edge sums over harmonics. The frame's angle about the edge cancels, as do its derivatives.
"""

import functools
import math

import torch
from e3nn.o3 import wigner_3j
from torch import Tensor, device, dtype

from ...o3 import CouplingPlan
from ...o3.coupling import Pair
from ..depthwise import Outer, Part
from ..messages import Message


def refusal(plan: CouplingPlan, device: device, dtype: dtype) -> str | None:
    """Return why the directions of edges cannot be read from their harmonics, or None."""
    if all(ir.l != 1 for _, ir in plan.irreps_sh):
        return f"harmonics {plan.irreps_sh} hold no degree 1, so they do not tell the direction of an edge"
    return None


def message_product(
    plan: CouplingPlan, coefficients: Tensor, edge_sh: Tensor, message: Message, weight: Tensor | None
) -> list[list[Part]]:
    """Return the product of messages and harmonics, see `kernels.engines`.

    `edge_sh` must be the harmonics of unit vectors or of zero vectors (zero but for degree 0), as
    `o3.SphericalHarmonics` gives them.
    """
    x = message.dense()
    with torch.autocast(edge_sh.device.type, enabled=False):
        edge_sh = edge_sh.to(coefficients.dtype)
        degrees = [(pair.d_in - 1) // 2 for pair in plan.pairs if _turns(pair)]
        degrees += [(pair.d_out - 1) // 2 for pair in plan.pairs if _turns(pair)]
        harmonics = _degrees(plan)
        unit, there = _directions(harmonics, edge_sh)
        frames = wigner_matrices(rotation_to_y(unit), max(degrees, default=0))
        columns = torch.split(coefficients, plan.sizes, dim=1)
        matrices = [
            _aligned_matrix(harmonics, pair, c, frames, there) if _turns(pair) else _matrix(pair, edge_sh @ c)
            for pair, c in zip(plan.pairs, columns)
        ]
    turning = {pair.i_in for pair in plan.pairs if _turns(pair)}
    turned = {i: torch.bmm(frames[(x[i].shape[1] - 1) // 2].to(x[i].dtype), x[i]) for i in turning}
    weights: tuple[Tensor | None, ...] = (None,) * len(plan.pairs)
    if weight is not None:
        weights = torch.split(weight, [pair.numel for pair in plan.pairs], dim=1)
    out: list[list[Part]] = [[] for _ in plan.channels_out]
    for pair, t, w in zip(plan.pairs, matrices, weights):
        out[pair.i_out].append(_product(pair, t, (turned if _turns(pair) else x)[pair.i_in], w))
    return out


def _turns(pair: Pair) -> bool:
    """Whether a pair is worth a frame: with a scalar on either side its one harmonic is the whole matrix."""
    return pair.d_in > 1 and pair.d_out > 1


def _matrix(pair: Pair, flat: Tensor) -> Tensor:
    """Return coupling matrices [E, d_out·P, d_in]."""
    return flat.unflatten(1, (pair.d_in, -1)).transpose(1, 2)


def _product(pair: Pair, t: Tensor, x: Tensor, weight: Tensor | None) -> Part:
    """Return the product of a pair, [E, d_out, P·C], from matrices [E, d_out·P, components of x that couple]."""
    t = t.to(x.dtype)
    if pair.d_in == 1:
        x = x.squeeze(1) if weight is None else x.squeeze(1) * weight
        outer = Outer(t.squeeze(2), x)
        return outer if pair.d_out > 1 else outer.dense()
    skip = (x.shape[1] - t.shape[2]) // 2
    u = torch.bmm(t, x.narrow(1, skip, t.shape[2])).reshape(x.shape[0], pair.d_out, pair.numel)
    return u if weight is None else u * weight.unsqueeze(1)


@torch.compiler.assume_constant_result
def _degrees(plan: CouplingPlan) -> tuple[int, ...]:
    """Return the degrees of the harmonics as plain numbers (torch.compile cannot trace e3nn's irreps)."""
    return tuple(ir.l for _, ir in plan.irreps_sh)


def _aligned_matrix(
    harmonics: tuple[int, ...], pair: Pair, columns: Tensor, frames: list[Tensor], there: Tensor
) -> Tensor:
    """Return [E, d_out·P, 2·min(l_in, l_out)+1]: coupling on the y axis, then the way back from the frame."""
    paths, low = len(pair.harmonics), min(pair.d_in, pair.d_out)
    on_axis = (_harmonics_on_y(harmonics, columns) @ columns).reshape(pair.d_in, pair.d_out, paths)
    on_axis = on_axis.narrow(0, (pair.d_in - low) // 2, low).narrow(1, (pair.d_out - low) // 2, low)
    back = frames[(pair.d_out - 1) // 2].narrow(1, (pair.d_out - low) // 2, low)
    t = torch.einsum("enm,anp->empa", back, on_axis)
    # An edge without a direction keeps the harmonic of degree 0 alone; its frame, the identity, is right for that.
    constant = [harmonics[j] == 0 for j in pair.harmonics]
    keep = torch.stack([torch.ones_like(there) if c else there for c in constant], dim=1)
    return (t * keep[:, None, :, None]).flatten(1, 2)


def _harmonics_on_y(harmonics: tuple[int, ...], like: Tensor) -> Tensor:
    y: list[float] = []
    for l in harmonics:
        y += [0.0] * l + [math.sqrt(2 * l + 1)] + [0.0] * l
    return torch.tensor(y, dtype=like.dtype, device=like.device)


def _directions(harmonics: tuple[int, ...], edge_sh: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors [E, 3], the y axis where an edge has no direction, and 1 or 0 [E]: whether it has one."""
    start = sum(2 * l + 1 for l in harmonics[: harmonics.index(1)])
    unit = edge_sh[:, start : start + 3] / math.sqrt(3)
    there = (unit != 0).any(dim=1)
    y = torch.tensor([0.0, 1.0, 0.0], dtype=unit.dtype, device=unit.device)
    return torch.where(there.unsqueeze(1), unit, y), there.to(unit.dtype)


def rotation_to_y(unit: Tensor) -> Tensor:
    r"""Return rotations that take unit vectors to the y axis, by the shortest way from y or from -y.

    .. math:: R = 1 + [v]_\times + \frac{[v]_\times^2}{1 + |u_y|}, \quad v = u \times \hat y

    for :math:`u_y \ge 0`; other vectors are turned by π about x first. Both are smooth where they are used.

    Shapes:
        unit [E, 3] → [E, 3, 3]

    Example:
        >>> u = torch.tensor([[0.0, -0.6, 0.8]])
        >>> rotation_to_y(u) @ u[0]
        tensor([[0., 1., 0.]])
    """
    x, y, z = unit.unbind(1)
    sign = torch.where(y < 0, -torch.ones_like(y), torch.ones_like(y))
    y, z = sign * y, sign * z  # the vector after the turn about x
    k = 1 / (1 + y)
    rows = [1 - k * x * x, -x * sign, -k * x * z * sign, x, y * sign, z * sign]
    rows += [-k * x * z, -z * sign, (1 - k * z * z) * sign]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def wigner_matrices(rotation: Tensor, lmax: int) -> list[Tensor]:
    r"""Return the representations of rotations of degrees 0 to lmax, in e3nn's basis.

    .. math:: D^l = A_l^T (D^1 \otimes D^{l-1}) A_l

    with A the normalised 3j symbols; :math:`D^1` is the rotation itself. They are polynomials of its entries.

    Shapes:
        rotation [E, 3, 3] → one [E, 2l+1, 2l+1] per degree

    Example:
        >>> [tuple(d.shape) for d in wigner_matrices(torch.eye(3).expand(2, 3, 3), 2)]
        [(2, 1, 1), (2, 3, 3), (2, 5, 5)]
    """
    out = [torch.ones_like(rotation[:, :1, :1]), rotation]
    for l in range(2, lmax + 1):
        a = _step(l, rotation.dtype, rotation.device)
        half = torch.einsum("eab,jbn->ejan", out[-1], a).flatten(2)
        half = torch.bmm(rotation, half).unflatten(2, (2 * l - 1, 2 * l + 1))
        out.append(torch.einsum("iam,eian->emn", a, half))
    return out[: lmax + 1]


@torch.compiler.assume_constant_result
def _step(l: int, dtype: dtype, device: device) -> Tensor:
    """Return A [3, 2l-1, 2l+1], isometric from degree l to the product of degrees 1 and l-1."""
    return _cached_step(l, dtype, device)


@functools.cache
def _cached_step(l: int, dtype: dtype, device: device) -> Tensor:
    return (math.sqrt(2 * l + 1) * wigner_3j(1, l - 1, l, dtype=torch.float64)).to(dtype=dtype, device=device)
