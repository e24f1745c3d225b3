import pytest

from pyg_equiformer.data.label_units import (
    energy_factor,
    force_factor,
    label_factor,
    length_factor,
    same_unit,
    stated_units,
    stress_factor,
)


# CODATA 2022: hartree 27.211386245981 eV, bohr 0.529177210544 Å; calorie 4.184 J.
@pytest.mark.parametrize(
    ("factor", "unit", "value"),
    [
        (energy_factor, "Hartree", 27.211386245981),
        (energy_factor, "kcal/mol", 0.0433641042),
        (energy_factor, "Ry", 13.6056931230),
        (length_factor, "Ang", 1.0),
        (length_factor, "bohr", 0.529177210544),
        (force_factor, "kcal/mol/Å", 0.0433641042),
        (force_factor, "Ha/bohr", 51.4220675112),
        (force_factor, "meV/Å", 1e-3),
        (stress_factor, "GPa", 6.24150907e-3),
        (stress_factor, "kbar", 6.24150907e-4),
        (stress_factor, "eV/Å^3", 1.0),
        (stress_factor, "eV/Å³", 1.0),
        (stress_factor, "Ha/bohr3", 183.6315368),
    ],
)
def test_units_are_worth_what_codata_says(factor, unit, value):
    assert factor(unit) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    ("factor", "unit", "message"),
    [
        (energy_factor, "eV/atom", "unknown energy unit 'eV/atom'"),
        (length_factor, "inch", "unknown length unit 'inch', expected one of Å, bohr"),
        (force_factor, "eV", "unknown force unit 'eV' .*expected energy/length"),
        (stress_factor, "eV/Å", "unknown stress unit 'eV/Å' .*third power"),
    ],
)
def test_unknown_units_are_refused_with_those_that_are_known(factor, unit, message):
    with pytest.raises(ValueError, match=message):
        factor(unit)


def test_labels_follow_from_energy_and_length_of_the_file():
    assert label_factor("forces", "Ha", "bohr", None)[0] == pytest.approx(51.4220675112, rel=1e-9)
    assert label_factor("stress", "eV", "nm", None) == (pytest.approx(1e-3), "eV/Å³")
    assert label_factor("gap", "Ha", "bohr", None) == (1.0, "")


def test_the_same_unit_may_be_written_in_several_ways():
    assert same_unit("Ha", "hartree")
    assert same_unit("GPa", "gpa")
    assert not same_unit("D", "e*Å")


def test_units_of_a_frame_are_understood_or_refused():
    assert stated_units({"units": "atomic"})[0] == {"energy": "Ha", "length": "bohr"}
    assert stated_units({"units": "kcal/mol Ang"})[0] == {"energy": "kcal/mol", "length": "Ang"}
    assert stated_units({"energy_units": "Ha", "n_unit": 4, "force_unit": "Ha/bohr"}) == (
        {"energy": "Ha"},
        {"forces": "Ha/bohr"},
    )
    with pytest.raises(ValueError, match="units='cgs' is not understood"):
        stated_units({"units": "cgs"})
