from pathlib import Path

import pytest

from pyg_equiformer.training.folder import new_folder


def test_names_are_numbered_and_nothing_is_overwritten():
    folders = [new_folder(None, "ethanol") for _ in range(3)]
    assert folders == [Path("runs/ethanol"), Path("runs/ethanol-2"), Path("runs/ethanol-3")]
    assert all(folder.is_dir() for folder in folders)


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_folder(tmp_path / "empty", "x") == tmp_path / "empty"
    (tmp_path / "empty" / "file").touch()
    with pytest.raises(ValueError, match="exists already, expected a new or empty folder"):
        new_folder(tmp_path / "empty", "x")
    with pytest.raises(ValueError, match="exists already"):
        new_folder(tmp_path / "empty" / "file", "x")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_names_are_plain(name):
    with pytest.raises(ValueError, match="without slashes"):
        new_folder(None, name)
