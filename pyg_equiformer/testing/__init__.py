"""Checks of equivariance and of forces, for the layers of this package and for your own.

Every check raises an AssertionError that tells how large the violation is and where. Rotations are those of
e3nn: features in its flat layout turn by its Wigner D matrices, vectors (x, y, z) by the matrix itself.
"""

from .equivariance import assert_equivariant
from .forces import assert_forces_match_finite_differences
from .model_equivariance import assert_model_equivariant
from .rotations import random_rotation, rotate

__all__ = [
    "assert_equivariant",
    "assert_forces_match_finite_differences",
    "assert_model_equivariant",
    "random_rotation",
    "rotate",
]
