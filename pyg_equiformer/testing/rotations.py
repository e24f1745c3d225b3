"""Random rotations, and what they do to features."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from ..o3 import as_irreps


def random_rotation(
    generator: torch.Generator | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return a random rotation matrix [3, 3], uniform over all rotations.

    Args:
        generator: on the CPU; None: PyTorch's own.

    Example:
        >>> R = random_rotation()
        >>> torch.allclose(R @ R.T, torch.eye(3, dtype=R.dtype)), round(float(torch.linalg.det(R)), 6)
        (True, 1.0)
    """
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return (q * torch.linalg.det(q)).to(device=device, dtype=dtype)


def rotate(irreps: Irreps | str, rotation: Tensor, x: Tensor) -> Tensor:
    r"""Return features after a rotation or an improper rotation of space.

    .. math:: x'_l = D^{(l)}(R)\, x_l, \qquad D^{(l,p)}(-R) = p\, D^{(l)}(R)

    Args:
        irreps: of the features; those of odd parity change sign under inversion.
        rotation: R, orthogonal [3, 3]; a determinant of -1 means rotation and inversion.
        x: [..., irreps.dim] in e3nn's layout.

    Raises:
        ValueError: if R is not orthogonal or x has another width.

    Example:
        >>> quarter_turn_about_z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        >>> rotate("0e+1o", quarter_turn_about_z, torch.tensor([7.0, 1.0, 0.0, 0.0])).round(decimals=4).abs()
        tensor([7., 0., 1., 0.])
    """
    irreps = as_irreps(irreps)
    if x.shape[-1] != irreps.dim:
        raise ValueError(f"x must have {irreps.dim} columns for irreps {irreps}, got shape {tuple(x.shape)}")
    matrix = rotation.detach().double().cpu()
    eye = torch.eye(3, dtype=torch.float64)
    if matrix.shape != (3, 3) or not torch.allclose(matrix @ matrix.T, eye, atol=1e-5):
        raise ValueError(f"rotation must be an orthogonal matrix [3, 3], got {rotation}")
    parts = []
    for (mul, ir), part in zip(irreps, torch.split(x, [mul * ir.dim for mul, ir in irreps], dim=-1)):
        with _default_double():
            wigner = ir.D_from_matrix(matrix).to(x)
        parts.append((part.unflatten(-1, (mul, ir.dim)) @ wigner.T).flatten(-2) if mul else part)
    return torch.cat(parts, dim=-1)


def transformations(generator: torch.Generator, trials: int, inversion: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield names and matrices of random rotations, and of inversions if asked for."""
    for _ in range(trials):
        yield "rotation", random_rotation(generator)
    if inversion:
        yield "inversion", -torch.eye(3, dtype=torch.float64)
        yield "rotation with inversion", -random_rotation(generator)


@contextmanager
def _default_double() -> Iterator[None]:
    """e3nn builds the generators of rotations in PyTorch's default precision; float32 would not do."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
