"""One exported file for all tests of this folder: compiling takes its time."""

from pathlib import Path

import pytest

from pyg_equiformer import EnergyForces, save_model
from pyg_equiformer.export import export_run

from .potentials import potential


@pytest.fixture(scope="session")
def model() -> EnergyForces:
    return potential(atomic_energies={1: -13.6, 6: -1030.0, 8: -2041.3})


@pytest.fixture(scope="session")
def package(model: EnergyForces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `pyg-equiformer export`, of a model that was trained on hydrogen and oxygen."""
    folder = tmp_path_factory.mktemp("package")
    save_model(folder / "model.pt", model, elements=[1, 8])
    try:
        export_run(folder, folder / "model.pt2")
    except ValueError as error:
        if "C++ compiler" in str(error):
            pytest.skip(str(error))
        raise
    return folder / "model.pt2"
