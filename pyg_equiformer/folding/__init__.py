"""Proteins as rigid groups of atoms: frames, templates, and the errors of predicted structures."""

from .coarse_grain import all_atoms, coarse_grain, group_atoms, residue_positions
from .frame_error import fape, rename_symmetric
from .frames import Frames, fit_frames, interpolate, matrix_to_quaternion, quaternion_to_matrix, random_frames
from .templates import Templates, fit_templates
from .violations import Violations, structural_violations

__all__ = [
    "Frames",
    "Templates",
    "Violations",
    "all_atoms",
    "coarse_grain",
    "fape",
    "fit_frames",
    "fit_templates",
    "group_atoms",
    "interpolate",
    "matrix_to_quaternion",
    "quaternion_to_matrix",
    "random_frames",
    "rename_symmetric",
    "residue_positions",
    "structural_violations",
]
