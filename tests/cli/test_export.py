"""`pyg-equiformer export`: what it refuses before anything is compiled, and what it writes."""

from pathlib import Path

import pytest

from .command import call, fine, one_red_line


def test_files_that_exist_and_wrong_choices_are_refused_in_one_line(force_field):
    Path("model.pt2").write_text("mine")
    assert "exists already" in one_red_line(call("export", str(force_field), "-o", "model.pt2"))
    assert Path("model.pt2").read_text() == "mine"
    assert "ends in .pt2 or .pkl" in one_red_line(call("export", str(force_field), "-o", "model.pt"))
    assert "float16" in one_red_line(call("export", str(force_field), "-o", "other.pt2", "--dtype", "float16"))
    assert "device must be one of" in one_red_line(call("export", str(force_field), "-o", "b.pt2", "--device", "tpu"))
    assert "there is no file" in one_red_line(call("export", "no-run", "-o", "other.pt2"))


def test_a_trained_run_becomes_a_file_for_lammps_of_its_elements(force_field):
    import pickle

    assert "--device is for files" in one_red_line(call("export", str(force_field), "-o", "m.pkl", "--device", "cuda"))
    assert "float16" in one_red_line(call("export", str(force_field), "-o", "m.pkl", "--dtype", "float16"))
    assert not Path("m.pkl").exists()
    told = fine(call("export", str(force_field), "-o", "m.pkl", "--dtype", "float64"))
    assert "pair_style mliap unified m.pkl 0" in told
    assert "pair_coeff * * H O" in told
    potential = pickle.loads(Path("m.pkl").read_bytes())
    assert potential.element_types == ["H", "O"]
    assert next(potential.potential.parameters()).dtype.itemsize == 8
    assert "exists already" in one_red_line(call("export", str(force_field), "-o", "m.pkl"))


def test_models_of_other_properties_are_refused_in_one_line(committee):
    assert "PropertyModel" in one_red_line(call("export", str(committee), "-o", "model.pt2"))


@pytest.mark.slow
def test_a_trained_run_becomes_a_file_for_its_elements(force_field):
    from pyg_equiformer import load_model
    from pyg_equiformer.data import open_structures
    from pyg_equiformer.export import load_exported

    told = fine(call("export", str(force_field), "-o", "model.pt2", "--dtype", "float64"))
    assert "Z = 1 8" in told
    assert "float64" in told
    exported, model = load_exported("model.pt2"), load_model(force_field / "model.pt").double()
    data = open_structures(force_field.parent / "water.xyz").structures[0]
    data.pos = data.pos.double()
    assert abs(exported(data)["energy"] - model(data)["energy"]).item() < 1e-7
