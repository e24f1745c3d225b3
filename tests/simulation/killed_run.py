"""A run of molecular dynamics for a process of its own: python -m tests.simulation.killed_run MODEL FOLDER ENSEMBLE."""

import sys

from ase.build import bulk

from pyg_equiformer import EquiformerCalculator
from pyg_equiformer.simulation import MDSettings, run_md

from .conftest import water


def settings(ensemble: str, steps: int) -> MDSettings:
    return MDSettings(ensemble, temperature=300.0, timestep=0.5, steps=steps, every=2, max_temperature=1e6)


if __name__ == "__main__":
    model, folder, ensemble = sys.argv[1:]
    atoms = bulk("Cu", cubic=True) if ensemble == "npt" else water()
    run_md(atoms, EquiformerCalculator(model), folder, settings(ensemble, 100_000), save_seconds=0)
