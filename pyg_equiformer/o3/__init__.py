"""Mathematics of rotations: irreps, layouts, spherical harmonics, couplings. No parameters, no graphs."""

from .constants import Constants
from .coupling import CouplingPlan, Pair, Slot, coupling_plan
from .layout import SCALAR, Blocks, Layout, as_irreps, count, even_first
from .spherical_harmonics import SphericalHarmonics, check_irreps_sh, unit_and_length

__all__ = [
    "SCALAR",
    "Blocks",
    "Constants",
    "CouplingPlan",
    "Layout",
    "Pair",
    "Slot",
    "SphericalHarmonics",
    "as_irreps",
    "check_irreps_sh",
    "count",
    "coupling_plan",
    "even_first",
    "unit_and_length",
]
