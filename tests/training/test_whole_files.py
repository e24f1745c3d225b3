import pytest

from pyg_equiformer.training.whole_files import whole_file


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.md"
    path.write_text("before")

    def fail():
        with whole_file(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_nothing_is_named_with_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match=r"could not write .*folder\.npz"), whole_file(tmp_path / "folder.npz") as part:
        part.write_text("text")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.npz"]


def test_the_file_is_as_readable_as_any_other_and_its_folder_is_made(tmp_path):
    (tmp_path / "usual").write_text("")
    with whole_file(tmp_path / "new" / "a.txt") as part:
        part.write_text("text")
        assert part.suffix == ".txt"
    assert (tmp_path / "new" / "a.txt").read_text() == "text"
    assert (tmp_path / "new" / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode
