"""Data sets, readers and writers; nothing optional is imported before it is needed."""

from .molecules import load_structure
from .sampling import partial_path, sample_trajectory, write_trajectory
from .structures import SAMPLES, bundled_sample, read_structures
from .transforms import RadiusGraph

__all__ = [
    "SAMPLES",
    "RadiusGraph",
    "bundled_sample",
    "load_structure",
    "partial_path",
    "read_structures",
    "sample_trajectory",
    "write_trajectory",
]
