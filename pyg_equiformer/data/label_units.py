"""Units of labels: what one of the file's units is in eV and Å."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from .. import keys
from ..units import BOHR, HARTREE, energy_in_ev

_ENERGY_ALIASES = {"eh": "ha", "hartrees": "ha", "electronvolt": "ev", "kcal mol-1": "kcal/mol", "kj mol-1": "kj/mol"}
_LENGTH_IN_ANGSTROM = {
    "å": 1.0, "ang": 1.0, "angstrom": 1.0, "angstroms": 1.0, "a": 1.0,
    "bohr": BOHR, "a0": BOHR, "nm": 10.0, "pm": 0.01,
}  # fmt: skip
_PRESSURE_IN_PASCAL = {"pa": 1.0, "mpa": 1e6, "gpa": 1e9, "bar": 1e5, "kbar": 1e8, "kb": 1e8}
_PASCAL = 1e-30 / 1.602176634e-19  #: in eV/Å³
#: What a single word for a whole system of units stands for: energy, length.
_SYSTEMS = {
    "metal": ("eV", "Å"),
    "real": ("kcal/mol", "Å"),
    "atomic": ("Ha", "bohr"),
    "au": ("Ha", "bohr"),
    "a.u.": ("Ha", "bohr"),
}


def energy_factor(unit: str) -> float:
    """Return how many eV one `unit` is; ValueError if it is no unit of energy.

    Example:
        >>> round(energy_factor("Ry"), 4)
        13.6057
    """
    text = _ENERGY_ALIASES.get(unit.strip().lower(), unit.strip())
    return HARTREE / 2 if text.lower() in ("ry", "rydberg") else energy_in_ev(text)


def length_factor(unit: str) -> float:
    """Return how many Å one `unit` is; ValueError if it is no unit of length.

    Example:
        >>> length_factor("nm")
        10.0
    """
    try:
        return _LENGTH_IN_ANGSTROM[unit.strip().lower()]
    except KeyError:
        raise ValueError(f"unknown length unit {unit!r}, expected one of Å, bohr, nm, pm") from None


def force_factor(unit: str) -> float:
    """Return how many eV/Å one `unit` is, an energy over a length as in "kcal/mol/Å".

    Example:
        >>> round(force_factor("Ha/bohr"), 4)
        51.4221
    """
    energy, slash, length = unit.rpartition("/")
    try:
        if not slash:
            raise ValueError("there is no '/'")
        return energy_factor(energy) / length_factor(length)
    except ValueError as error:
        raise ValueError(f"unknown force unit {unit!r} ({error}), expected energy/length as in eV/Å") from None


def stress_factor(unit: str) -> float:
    """Return how many eV/Å³ one `unit` is, a pressure as "GPa" or an energy over a volume as "Ha/bohr^3".

    Example:
        >>> round(1 / stress_factor("GPa"), 4)
        160.2177
    """
    pressure = _PRESSURE_IN_PASCAL.get(unit.strip().lower())
    if pressure is not None:
        return pressure * _PASCAL
    energy, _, volume = unit.rpartition("/")
    length = re.sub(r"(\^3|\*\*3|³|3)$", "", volume.strip())
    try:
        if length == volume.strip():
            raise ValueError("there is no third power")
        return energy_factor(energy) / length_factor(length) ** 3
    except ValueError as error:
        hint = "expected GPa, kbar, or energy/length^3 as in eV/Å^3"
        raise ValueError(f"unknown stress unit {unit!r} ({error}), {hint}") from None


@lru_cache(maxsize=256)
def label_factor(name: str, energy: str, length: str, unit: str | None) -> tuple[float, str]:
    """Return the factor to our units and our unit of a label.

    Args:
        name: of the target.
        energy: unit of energy of the file.
        length: unit of length of the file.
        unit: of this very label, or None if the file's energy and length give it.

    Example:
        >>> label_factor("gap", "eV", "Å", "meV"), label_factor("dipole", "eV", "Å", "D")
        ((0.001, 'eV'), (1.0, 'D'))
    """
    if name == keys.ENERGY:
        return energy_factor(unit or energy), "eV"
    if name == keys.FORCES:
        return force_factor(unit or f"{energy}/{length}"), "eV/Å"
    if name == keys.STRESS:
        return stress_factor(unit or f"{energy}/{length}^3"), "eV/Å³"
    if unit is None:
        return 1.0, ""
    try:
        return energy_factor(unit), "eV"
    except ValueError:
        return 1.0, _spelling(unit)  # any other unit is kept, and told beside the numbers


def _spelling(unit: str) -> str:
    return "D" if unit.strip().lower() in ("d", "debye") else unit


def same_unit(first: str, second: str) -> bool:
    """Whether two texts name the same unit.

    Example:
        >>> same_unit("Ha", "hartree"), same_unit("D", "Debye"), same_unit("Å", "bohr")
        (True, True, False)
    """
    if _spelling(first) == _spelling(second):
        return True
    for factor in (energy_factor, length_factor, force_factor, stress_factor):
        try:
            return factor(first) == factor(second)
        except ValueError:
            continue
    return False


def stated_units(info: Mapping[str, object]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the units of energy and length that a frame states, and those of single labels.

    Understood are texts under `energy_unit`, `length_unit`, `e_unit`, `r_unit`, `<label>_unit`, and `units` as in
    "kcal/mol Å" or "atomic".

    Raises:
        ValueError: if `units` cannot be understood.

    Example:
        >>> stated_units({"e_unit": "kcal/mol", "forces_unit": "Ha/bohr", "name": "a"})
        ({'energy': 'kcal/mol'}, {'forces': 'Ha/bohr'})
    """
    general: dict[str, str] = {}
    labels: dict[str, str] = {}
    meanings = {
        "energy": ("e", "energy", "energies"),
        "length": ("r", "length", "position", "positions", "pos", "distance", "coordinates"),
    }
    for key, value in info.items():
        match = re.fullmatch(r"(.+)_units?", key)
        if not isinstance(value, str) or match is None:
            continue
        base = match[1].lower()
        kind = next((name for name, bases in meanings.items() if base in bases), None)
        if kind:
            general[kind] = value
        else:
            labels["forces" if base in ("f", "force", "forces") else match[1]] = value
    if isinstance(text := info.get("units"), str):
        general = {**_system(text), **general}
    return general, labels


def _system(text: str) -> dict[str, str]:
    if text.strip().lower() in _SYSTEMS:
        return dict(zip(("energy", "length"), _SYSTEMS[text.strip().lower()]))
    found: dict[str, str] = {}
    for word in re.split(r"[\s,;]+", text.strip()):
        for kind, factor in (("energy", energy_factor), ("length", length_factor)):
            try:
                factor(word)
            except ValueError:
                continue
            found[kind] = word
            break
        else:
            raise ValueError(
                f"units={text!r} is not understood, expected units of energy and length such as 'kcal/mol Å'; "
                "write energy_unit and length_unit instead"
            )
    return found
