"""Trained potentials for programs that know nothing of this package: compiled ahead of time, and in LAMMPS."""

from .exported import ExportedModel, load_exported
from .mliap import MliapPotential, export_mliap
from .package import describe, export_model, export_run, make_program
from .program import INPUTS, OUTPUTS, Program, ProgramInputs, trace

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "ExportedModel",
    "MliapPotential",
    "Program",
    "ProgramInputs",
    "describe",
    "export_mliap",
    "export_model",
    "export_run",
    "load_exported",
    "make_program",
    "trace",
]
