"""A run, its file and a folder to pass on are all places of a model."""

import pytest

from pyg_equiformer import EnergyForces, load_model, save_model, save_pretrained
from pyg_equiformer.checkpoints import find_model

from ..models.conftest import tiny


@pytest.mark.parametrize("kind", ["run", "file", "shared"])
def test_what_is_found_can_be_loaded(tmp_path, kind):
    model = EnergyForces(tiny(num_layers=1))
    if kind == "shared":
        pytest.importorskip("safetensors")
        save_pretrained(model, tmp_path)
    else:
        save_model(tmp_path / "model.pt", model)
    found = find_model(tmp_path / "model.pt" if kind == "file" else tmp_path)
    assert found == (tmp_path if kind == "shared" else tmp_path / "model.pt")
    assert isinstance(load_model(found), EnergyForces)


def test_a_folder_without_a_model_names_the_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model\.pt, expected the folder of a run"):
        find_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*other"):
        find_model(tmp_path / "other")
