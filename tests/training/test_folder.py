from pathlib import Path

import pytest

from pyg_equiformer.training.config import TrainConfig
from pyg_equiformer.training.folder import CONFIG, check_new, existing_run, members, new_folder


def test_names_are_numbered_and_nothing_is_overwritten():
    folders = [new_folder(None, "ethanol") for _ in range(3)]
    assert folders == [Path("runs/ethanol"), Path("runs/ethanol-2"), Path("runs/ethanol-3")]
    assert all(folder.is_dir() for folder in folders)


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_folder(tmp_path / "empty", "x") == tmp_path / "empty"
    (tmp_path / "empty" / "file").touch()
    for refuse in (new_folder, check_new):
        with pytest.raises(ValueError, match="exists already, expected a new or empty folder"):
            refuse(tmp_path / "empty", "x")
        with pytest.raises(ValueError, match="exists already"):
            refuse(tmp_path / "empty" / "file", "x")


def test_looking_whether_a_folder_is_free_makes_none(tmp_path):
    check_new(tmp_path / "new", "x")
    check_new(None, "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_names_are_plain(name):
    with pytest.raises(ValueError, match="without slashes"):
        new_folder(None, name)


def test_the_folder_of_a_run_has_its_settings(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        existing_run(tmp_path / "none")
    with pytest.raises(ValueError, match=r"has no config\.yaml"):
        existing_run(tmp_path)
    TrainConfig().write(tmp_path / CONFIG)
    assert existing_run(str(tmp_path)) == tmp_path


def test_members_are_in_the_order_of_their_numbers(tmp_path):
    assert members(tmp_path) == []
    for k in (10, 2, 0):
        (tmp_path / f"member-{k}").mkdir()
    (tmp_path / "members").touch()
    assert [m.name for m in members(tmp_path)] == ["member-0", "member-2", "member-10"]
