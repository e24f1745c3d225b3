import pytest
import yaml

from pyg_equiformer.data import QM9_TARGETS
from pyg_equiformer.training import published as module
from pyg_equiformer.training.published import PublishedResult, published


def test_every_published_target_of_qm9_has_errors_in_its_published_unit():
    for target, (column, _, unit) in QM9_TARGETS.items():
        results = published(f"qm9:{target}")
        assert (len(results) >= 4) == (column < 12), target
        for result in results:
            assert list(result.values) == [f"{target}_mae"]
            value, stated = result.values[f"{target}_mae"]
            assert value > 0
            assert stated == unit


def test_energies_and_forces_have_units_and_kinds():
    first = published("rmd17:aspirin")[0]
    assert first == PublishedResult(
        "MACE",
        {"energy_mae": (2.2, "meV"), "forces_mae": (6.6, "meV/Å")},
        "950 training, 50 validation and 1,000 test frames",
        "arXiv 2206.07697",
    )
    assert set(published("3bpa")[0].values) == {"energy_rmse", "forces_rmse"}
    assert published("acac")[-1].values == {"forces_mae": (3.8, "meV/Å")}


def test_every_molecule_of_rmd17_is_there():
    from pyg_equiformer.data.md17 import md17_names

    for name in md17_names():
        assert bool(published(name)) == name.startswith("rmd17:"), name


@pytest.mark.parametrize("name", ["data", "qm9", "qm9:bandgap", "3bpa:x", "rmd17:energy", ""])
def test_nothing_is_known_of_other_names(name):
    assert published(name) == []


def test_every_entry_states_its_source_protocol_and_kind_of_error():
    with open(module.__file__.replace(".py", ".yaml"), encoding="utf-8") as file:
        tables = yaml.safe_load(file)
    for table in tables.values():
        assert table["protocol"]
        for entry in table["models"]:
            assert entry["source"]
            assert entry.get("kind", table["kind"]) in ("mae", "rmse")
