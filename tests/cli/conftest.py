"""Every test works in an empty folder; runs that several tests look at are trained once."""

from pathlib import Path

import pytest

from .command import TINY, call, fine, with_label, write_waters


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def force_field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on energies and forces of water."""
    folder = tmp_path_factory.mktemp("force_field")
    fine(call("train", write_waters(f"{folder}/water.xyz"), *TINY, "--epochs", "2", "--out", f"{folder}/run"))
    return folder / "run"


@pytest.fixture(scope="session")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of a property of water, trained with one command."""
    folder = tmp_path_factory.mktemp("committee")
    path = write_waters(f"{folder}/gaps.xyz", change=with_label(lambda i: f"gap={7 + 0.1 * i} gap_unit=eV"))
    fine(
        call("train", path, "targets=gap", *TINY, "--epochs", "2", "--ensemble", "2", "--out", f"{folder}/run"),
    )
    return folder / "run"
