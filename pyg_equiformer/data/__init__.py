"""Data sets, readers and writers; nothing optional is imported before it is needed."""

from .builtin import is_builtin, open_builtin
from .dataset_view import wrap_dataset
from .molecules import load_structure
from .neighbor_transforms import BondGraph, KNNGraph
from .opening import open_structures
from .protein_chains import read_protein_chains
from .qm9 import QM9_TARGETS
from .read_options import ReadOptions
from .sampling import partial_path, sample_trajectory, write_trajectory
from .sequence_files import read_sequences
from .structures import SAMPLES, bundled_sample, read_structures
from .transforms import RadiusGraph

__all__ = [
    "QM9_TARGETS",
    "SAMPLES",
    "BondGraph",
    "KNNGraph",
    "RadiusGraph",
    "ReadOptions",
    "bundled_sample",
    "is_builtin",
    "load_structure",
    "open_builtin",
    "open_structures",
    "partial_path",
    "read_protein_chains",
    "read_sequences",
    "read_structures",
    "sample_trajectory",
    "wrap_dataset",
    "write_trajectory",
]
