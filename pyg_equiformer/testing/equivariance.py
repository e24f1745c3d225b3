"""Equivariance of layers and functions from features to features."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from ..o3 import as_irreps
from .comparison import compare, name_of
from .rotations import rotate, transformations


def assert_equivariant(
    function: Callable[..., Any],
    irreps_in: Irreps | str | None = None,
    irreps_out: Irreps | str | None = None,
    *,
    x: Tensor | None = None,
    equivariant: Mapping[str, tuple[Irreps | str, Tensor]] | None = None,
    invariant: Mapping[str, Any] | None = None,
    inversion: bool | None = None,
    tolerance: float | None = None,
    trials: int = 3,
    seed: int = 0,
) -> None:
    r"""Assert that a layer or function commutes with rotations, and with inversion where irreps have parity.

    .. math:: f(D_{in} x, D_k y_k, z) = D_{out} f(x, y_k, z)

    Args:
        function: called as `function(x, **equivariant, **invariant)`; returns features of `irreps_out`.
        irreps_in, irreps_out: of x and of the result. None: the attributes of that name.
        x: features [N, irreps_in.dim]. None: eight rows of normal random numbers in the precision of the
            function's parameters.
        equivariant: further inputs that turn too: name → (irreps, tensor).
        invariant: further inputs that do not.
        inversion: whether to test inversion too. None: if any irreps are of odd parity.
        tolerance: allowed violation relative to the largest number in the result. None: 1e-10 in float64,
            1e-4 in float32.
        trials: number of random rotations.
        seed: of rotations and x, and set anew before every call, so that dropout draws the same.

    Raises:
        AssertionError: with the size of the largest violation and where it is.
        ValueError: if irreps are neither given nor attributes, or the result does not have their width.

    Example:
        >>> from pyg_equiformer.nn import Linear
        >>> assert_equivariant(Linear("8x0e+4x1o", "2x0e+3x1o").double())
        >>> assert_equivariant(lambda x: x * x, "1o", "1o")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        AssertionError: <lambda> is not equivariant under rotation: it is off by ...

        A layer that takes edges (`edge_sh` turns, distances do not):

        >>> from pyg_equiformer import EquiformerConv
        >>> conv = EquiformerConv("8x0e+4x1e", irreps_sh="0e+1e", edge_dim=5, heads=2).double()
        >>> x, edge_index = torch.randn(3, 20).double(), torch.tensor([[0, 1, 2], [1, 0, 0]])
        >>> assert_equivariant(
        ...     conv,
        ...     x=x,
        ...     equivariant={"edge_sh": (conv.irreps_sh, torch.randn(3, 4).double())},
        ...     invariant={"edge_index": edge_index, "edge_attr": torch.randn(3, 5).double()},
        ... )
    """
    source = _irreps_of(function, irreps_in, "irreps_in")
    target = _irreps_of(function, irreps_out, "irreps_out")
    turning = {name: (as_irreps(irreps, name), value) for name, (irreps, value) in (equivariant or {}).items()}
    fixed = dict(invariant or {})
    generator = torch.Generator().manual_seed(seed)
    if x is None:
        x = torch.randn(8, source.dim, generator=generator, dtype=torch.float64).to(_like(function))

    def call(matrix: Tensor | None) -> Tensor:
        def turn(irreps: Irreps, value: Tensor) -> Tensor:
            return value if matrix is None else rotate(irreps, matrix, value)

        with _same_random_numbers(x, seed):
            out = function(turn(source, x), **{k: turn(i, v) for k, (i, v) in turning.items()}, **fixed)
        if not isinstance(out, Tensor) or out.shape[-1] != target.dim:
            got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"{name_of(function)} must return {target.dim} columns for {target}, got {got}")
        return out.detach()

    if inversion is None:
        all_irreps = [source, target, *(irreps for irreps, _ in turning.values())]
        inversion = any(ir.p == -1 for irreps in all_irreps for _, ir in irreps)
    reference = call(None)
    for kind, matrix in transformations(generator, trials, inversion):
        compare(call(matrix), rotate(target, matrix, reference), tolerance, name_of(function), kind, target)


def _irreps_of(function: Any, irreps: Irreps | str | None, name: str) -> Irreps:
    irreps = getattr(function, name, None) if irreps is None else irreps
    if irreps is None:
        raise ValueError(f"{name_of(function)} has no {name}: pass it as an argument")
    return as_irreps(irreps, name)


def _like(function: Any) -> Tensor:
    """Return a tensor of the device and precision of the function's parameters."""
    for tensor in function.parameters() if isinstance(function, torch.nn.Module) else ():
        if tensor.is_floating_point():
            return tensor
    return torch.empty(0)


@contextmanager
def _same_random_numbers(x: Tensor, seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        yield
