"""The card tells what a model is, and nothing that is not known."""

import pytest
import torch

from pyg_equiformer import EnergyForces, Ensemble, PropertyModel
from pyg_equiformer.checkpoints import model_content
from pyg_equiformer.elements import SYMBOLS, symbol
from pyg_equiformer.hub import model_card

from ..models.conftest import tiny


def rows(card: str) -> dict[str, str]:
    lines = [line.strip("| ").split(" | ", 1) for line in card.splitlines() if line.startswith("| ")]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def test_symbols_are_those_of_ase():
    assert list(SYMBOLS) == pytest.importorskip("ase.data").chemical_symbols
    assert symbol(0) == "Z0"


def test_a_potential_tells_units_cutoff_elements_and_reference_energies():
    model = EnergyForces(tiny(), atomic_energies={1: -13.6, 8: -2041.25}, stress=True)
    found = rows(model_card(model_content(model, {"elements": [1, 8], "training": {"data": "water.xyz"}})))
    assert found["outputs"] == "energy in eV, forces in eV/Å, stress in eV/Å³ (positive under tension)"
    assert found["cutoff"] == "5.0 Å"
    assert found["elements"] == "H, O: trained on these and on no others"
    assert found["reference energies in eV, added to the energy"] == "H -13.600000, O -2041.250000"
    assert found["trained on"] == "water.xyz"


@pytest.mark.parametrize(
    ("training", "run", "told"),
    [
        ({"data": "water.xyz"}, {"handed_over": False, "training_structures": 1900}, "water.xyz: 1,900 structures"),
        ({"data": None}, {"handed_over": False}, "the ethanol sample that comes with pyg_equiformer"),
        (
            {"data": None},
            {"handed_over": True, "training_structures": 3},
            "data handed over in Python: 3 structures",
        ),
        ({}, {}, "the ethanol sample that comes with pyg_equiformer, or data handed over in Python"),
    ],
)
def test_data_are_told_as_far_as_the_run_knew_them(training, run, told):
    card = model_card(model_content(PropertyModel(tiny(), ["gap"]), {"training": training, "run": run}))
    assert rows(card)["trained on"] == told


def test_what_is_not_known_is_said_to_be_so():
    card = model_card(model_content(PropertyModel(tiny(), ["gap"]), {}))
    assert rows(card)["outputs"] == "gap (unit not told)"
    assert "which were trained is not told" in rows(card)["elements"]
    assert "trained on" not in rows(card)
    assert "license" not in card
    assert "## Errors" not in card


def test_a_committee_tells_its_members_and_its_weights():
    members = Ensemble([EnergyForces(tiny()), EnergyForces(tiny())]).to(torch.float64)
    found = rows(model_card(model_content(members, {})))
    assert found["committee"].startswith("2 members")
    assert found["model"].endswith("in float64")
    total = sum(t.numel() for t in members.state_dict().values() if t.is_floating_point())
    assert f"{total:,} numbers" in found["model"]


def test_errors_are_those_of_the_run_with_their_units():
    errors = {"test": {"forces_mae": {"value": 11.26, "unit": "meV/Å"}, "structures": {"value": 2.0, "unit": "1"}}}
    card = model_card(
        model_content(EnergyForces(tiny()), {"errors": errors}), title="T", licence="mit", about="For me."
    )
    assert "| forces mae | 11.26 meV/Å |" in card
    assert "structures" not in card.split("## Errors")[1].split("##")[0]
    assert card.startswith("---\nlibrary_name: pyg_equiformer\nlicense: mit\n")
    assert "# T\n\nFor me." in card
