"""Trained potentials for programs that know nothing of this package: compiled ahead of time, and in LAMMPS."""

from .exported import ExportedModel, load_exported
from .package import describe, export_model, export_run, make_program
from .program import INPUTS, OUTPUTS, Program, ProgramInputs, trace

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "ExportedModel",
    "Program",
    "ProgramInputs",
    "describe",
    "export_model",
    "export_run",
    "load_exported",
    "make_program",
    "trace",
]
