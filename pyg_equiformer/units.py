"""Energies in eV and lengths in Å inside the package; other units are converted at the door.

Factors follow from CODATA 2022 (hartree = 27.211386245981 eV) and the thermochemical calorie (4.184 J).
"""

HARTREE = 27.211386245981
BOHR = 0.529177210544
KCAL_PER_MOL = 4.184e3 / 6.02214076e23 / 1.602176634e-19
KJ_PER_MOL = KCAL_PER_MOL / 4.184

_ENERGY_IN_EV = {
    "ev": 1.0,
    "mev": 1e-3,
    "hartree": HARTREE,
    "ha": HARTREE,
    "kcal/mol": KCAL_PER_MOL,
    "kj/mol": KJ_PER_MOL,
}


def energy_in_ev(unit: str) -> float:
    """Return how many eV one `unit` of energy is.

    Args:
        unit: one of eV, meV, hartree (Ha), kcal/mol, kJ/mol; upper and lower case alike.

    Raises:
        ValueError: if the unit is not known.

    Example:
        >>> round(energy_in_ev("kcal/mol"), 6)
        0.043364
    """
    try:
        return _ENERGY_IN_EV[unit.lower()]
    except KeyError:
        raise ValueError(f"unknown energy unit {unit!r}, expected one of {sorted(_ENERGY_IN_EV)}") from None
