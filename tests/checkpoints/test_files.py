"""Our own checkpoint files."""

import pytest
import torch

from pyg_equiformer import (
    EnergyForces,
    Ensemble,
    Equiformer,
    EquiformerConfig,
    PropertyModel,
    load_model,
    save_model,
)
from pyg_equiformer.checkpoints import read_extra

from ..models.conftest import tiny


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_save_load_save_is_identical(tmp_path, dtype):
    first, second = tmp_path / "model.pt", tmp_path / "again" / "model.pt"
    second.parent.mkdir()
    save_model(first, tiny("md17").to(dtype))
    model = load_model(first)
    assert next(model.parameters()).dtype == dtype
    save_model(second, model)
    assert first.read_bytes() == second.read_bytes()


def test_a_potential_keeps_scale_shift_and_atomic_energies(tmp_path):
    z, pos = torch.tensor([6, 1]), torch.randn(2, 3, dtype=torch.float64)
    potential = EnergyForces(tiny(), energy_scale=2.0, energy_shift=3.0, atomic_energies={1: -1.0, 6: -2.0})
    save_model(tmp_path / "p.pt", potential, note="mine", seeds=[1, 2])
    again = load_model(tmp_path / "p.pt")
    assert isinstance(again, EnergyForces)
    for key, value in potential(z, pos).items():
        assert torch.equal(again(z, pos)[key], value)
    assert read_extra(tmp_path / "p.pt") == {"note": "mine", "seeds": [1, 2]}


def test_the_file_loads_with_weights_only(tmp_path):
    save_model(tmp_path / "m.pt", tiny())
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert content["config"]["cutoff"] == 5.0


def test_a_model_of_another_config_is_refused_with_the_differences(tmp_path):
    save_model(tmp_path / "m.pt", tiny())
    with pytest.raises(ValueError, match="heads: 2 in the file, 1 expected"):
        load_model(tmp_path / "m.pt", config=tiny().config.replace(heads=1))


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    save_model(tmp_path / "m.pt", tiny())
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    content["config"]["num_layers"] = 3
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"do not fit its config: 42 missing .*, 2 unexpected .*, 2 of another shape"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"# a text file\n", b"\x80\x04K\x01."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pt is not a checkpoint"):
        load_model(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "m.pt"
    save_model(path, tiny())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="is not a checkpoint"):
        load_model(path)


def test_a_missing_file_and_a_foreign_checkpoint_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        load_model(tmp_path / "nothing.pt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match="load_official reads those of the published code"):
        load_model(tmp_path / "foreign.pt")


def test_a_newer_format_is_refused(tmp_path):
    save_model(tmp_path / "m.pt", tiny())
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    torch.save(content | {"version": 99}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match="format version 99"):
        load_model(tmp_path / "m.pt")


def test_a_failed_save_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "m.pt"
    save_model(path, tiny())
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        save_model(path, tiny(), extra=lambda: None)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


def test_a_loaded_model_is_in_evaluation_mode(tmp_path):
    save_model(tmp_path / "m.pt", Equiformer(EquiformerConfig(num_layers=1)))
    assert not load_model(tmp_path / "m.pt").training


def version_1(model: Equiformer, energy: dict | None) -> dict:
    """What the first version of the format wrote."""
    return {
        "format": "pyg_equiformer model",
        "version": 1,
        "class": "Equiformer" if energy is None else "EnergyForces",
        "config": model.config.to_dict(),
        "energy": energy,
        "state_dict": dict(model.state_dict()),
        "extra": {"note": "old"},
    }


def test_files_of_version_1_load(tmp_path):
    z, pos, network = torch.tensor([6, 1]), torch.eye(3, dtype=torch.float64)[:2], tiny(num_layers=1)
    torch.save(version_1(network, None), tmp_path / "network.pt")
    assert torch.equal(load_model(tmp_path / "network.pt")(z, pos), network(z, pos))
    energy = {"energy_scale": 2.0, "energy_shift": 3.0, "atomic_energies": {1: -1.0, 6: -2.0}}
    torch.save(version_1(network, energy), tmp_path / "potential.pt")
    potential = load_model(tmp_path / "potential.pt")
    for key, value in EnergyForces(network, **energy)(z, pos).items():
        assert torch.equal(potential(z, pos)[key], value)
    assert potential.stress is False
    assert read_extra(tmp_path / "potential.pt") == {"note": "old"}


def test_a_potential_with_stress_keeps_it(tmp_path):
    save_model(tmp_path / "p.pt", EnergyForces(tiny(num_layers=1), stress=True))
    assert load_model(tmp_path / "p.pt").stress is True


def properties(seed: int = 0) -> PropertyModel:
    network = tiny(num_layers=1, num_outputs=2)
    with torch.no_grad():
        network.head.lin_out.types.weight["0e"].mul_(1 + seed)
    references = {1: [0.5, 1.0], 6: [2.0, 3.0]}
    return PropertyModel(
        network, ["gap", "u0"], scale=[2.0, 3.0], shift=0.1, atomic_references=references, units=["eV", "D"]
    )


def test_a_property_model_keeps_names_units_and_numbers(tmp_path):
    z, pos, model = torch.tensor([6, 1]), torch.eye(3, dtype=torch.float64)[:2], properties()
    save_model(tmp_path / "p.pt", model)
    again = load_model(tmp_path / "p.pt")
    assert (again.names, again.units, again.atomic_references) == (model.names, model.units, model.atomic_references)
    for name, value in model(z, pos).items():
        assert torch.equal(again(z, pos)[name], value)
    torch.load(tmp_path / "p.pt", weights_only=True)


def test_an_ensemble_is_one_file(tmp_path):
    z, pos = torch.tensor([6, 1]), torch.eye(3, dtype=torch.float64)[:2]
    for name, members in {
        "properties.pt": [properties(0), properties(1)],
        "potentials.pt": [EnergyForces(tiny(num_layers=n), energy_shift=float(n), stress=False) for n in (1, 2)],
    }.items():
        committee = Ensemble(members)
        save_model(tmp_path / name, committee, seeds=[1, 2])
        again = load_model(tmp_path / name, config=members[0].config if name == "properties.pt" else None)
        assert not again.training
        for key, value in committee(z, pos).items():
            assert torch.equal(again(z, pos)[key], value)
        assert read_extra(tmp_path / name) == {"seeds": [1, 2]}
        torch.load(tmp_path / name, weights_only=True)
    with pytest.raises(ValueError, match="num_layers: 2 in the file, 1 expected"):
        load_model(tmp_path / "potentials.pt", config=members[0].config)


def test_other_modules_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"only Equiformer, EnergyForces, PropertyModel and Ensemble.*got Linear"):
        save_model(tmp_path / "m.pt", torch.nn.Linear(1, 1))
    assert not list(tmp_path.iterdir())


def test_a_class_of_another_package_is_named(tmp_path):
    torch.save(version_1(tiny(num_layers=1), None) | {"class": "Foreign"}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"m\.pt holds a 'Foreign', expected one of"):
        load_model(tmp_path / "m.pt")
