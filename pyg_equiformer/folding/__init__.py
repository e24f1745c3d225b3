"""Proteins as rigid groups of atoms: `EquiFold`, its frames, templates and training, and errors of structures."""

from .coarse_grain import all_atoms, coarse_grain, group_atoms, residue_positions
from .config import EquiFoldConfig
from .equifold import EquiFold, Folded
from .frame_error import fape, rename_symmetric
from .frames import Frames, fit_frames, interpolate, matrix_to_quaternion, quaternion_to_matrix, random_frames
from .graph import sequence_data, structure_data
from .loss import FoldLoss
from .metrics import Lddt, lddt, structure_metrics, superposed_rmsd, tm_score
from .relax import Relaxed, relax
from .saving import load_fold_model, save_fold_model
from .templates import Templates, fit_templates
from .violations import Violations, structural_violations

__all__ = [
    "EquiFold",
    "EquiFoldConfig",
    "FoldLoss",
    "Folded",
    "Frames",
    "Lddt",
    "Relaxed",
    "Templates",
    "Violations",
    "all_atoms",
    "coarse_grain",
    "fape",
    "fit_frames",
    "fit_templates",
    "group_atoms",
    "interpolate",
    "lddt",
    "load_fold_model",
    "matrix_to_quaternion",
    "quaternion_to_matrix",
    "random_frames",
    "relax",
    "rename_symmetric",
    "residue_positions",
    "save_fold_model",
    "sequence_data",
    "structural_violations",
    "structure_data",
    "structure_metrics",
    "superposed_rmsd",
    "tm_score",
]
