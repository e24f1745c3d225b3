"""Energies of one set in different units: stated by the frames, or betrayed by a ratio that is a unit factor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..units import HARTREE, KCAL_PER_MOL, KJ_PER_MOL
from .frames import FrameSource
from .label_units import same_unit
from .tally import Tally

#: How often one unit goes into another, with their names.
_RATIOS = {
    HARTREE: "hartree and eV",
    1 / KCAL_PER_MOL: "eV and kcal/mol",
    HARTREE / KCAL_PER_MOL: "hartree and kcal/mol",
    1 / KJ_PER_MOL: "eV and kJ/mol",
    HARTREE / KJ_PER_MOL: "hartree and kJ/mol",
    HARTREE / 2: "rydberg and eV",
    1000.0: "eV and meV",
}
_TOLERANCE = 0.01
#: Energies of one composition that spread further, compared with their mean, are not total energies.
_WIDEST = 0.05
#: Total energies are at least this large per atom in the smaller unit; formation energies, which may vanish, are not.
_LARGE = 2.0


def stated_mix(kind: str, tally: Tally, units: Mapping[str, str], source: FrameSource) -> str:
    """Return a note if frames state different units and are converted, or raise if some do not state any.

    Args:
        kind: "energy" or "length".
        tally: of what the frames state, "" for nothing.
        units: what holds for frames that state nothing.
        source: for messages.

    Raises:
        ValueError: if some frames state another unit than what would be taken for those that state none.
    """
    stated = [unit for unit in tally.frames if unit]
    usual = units[kind]
    if "" in tally.frames and any(not same_unit(unit, usual) for unit in stated):
        other = next(unit for unit in stated if not same_unit(unit, usual))
        raise ValueError(
            f"{source.path}: {tally.where(other)} state {kind} in {other}, {tally.where('')} state no unit and would "
            f"be read in {usual}; expected one unit, or each frame with {kind}_unit"
        )
    if len(stated) > 1 and any(not same_unit(unit, stated[0]) for unit in stated):
        told = ", ".join(f"{tally.frames[unit]} in {unit} ({tally.where(unit)})" for unit in stated)
        return f"frames state different units of {kind}, all were converted: {told}"
    return ""


def refuse_mixed_energies(
    energies: np.ndarray, atoms: np.ndarray, groups: np.ndarray, frames: np.ndarray, source: FrameSource
) -> None:
    """Raise if some energies of one composition are those of the others times a factor between units.

    Total energies of one composition differ by far less than by a factor, so all frames of it must either be near
    the middle one or off by the same factor; otherwise the energies are of another kind and nothing is said.

    Args:
        energies: in eV, as they would be read, [F].
        atoms: of each frame [F].
        groups: number of the composition [F].
        frames: number of each frame in the source [F].
        source: for messages.

    Raises:
        ValueError: naming frames of both kinds.
    """
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        rows = rows[np.isfinite(energies[rows])]
        if len(rows) < 2:
            continue
        values = energies[rows]
        middle = np.sort(values)[len(values) // 2]
        if middle == 0 or np.abs(values).max() < _LARGE * atoms[rows[0]]:
            continue
        ratios = values / middle
        near = (ratios > 2 / 3) & (ratios < 3 / 2)
        centre = values[near].mean()
        spread = values[near].std() / abs(centre)
        if near.all() or spread > _WIDEST:
            continue
        for factor, names in _RATIOS.items():
            for ratio in (factor, 1 / factor):
                off = np.abs(values / centre / ratio - 1) < max(_TOLERANCE, 3 * spread)
                if off.any() and (near | off).all():
                    ours, theirs = rows[near], rows[off]
                    raise ValueError(
                        f"{source.path}: energies of mixed units: {_frames(theirs, frames, energies)} "
                        f"against {_frames(ours, frames, energies)} for the same composition, a factor of "
                        f"{max(ratio, 1 / ratio):.4g} as between {names}; convert them, or state energy_unit in "
                        "each frame"
                    )


def _frames(rows: np.ndarray, frames: np.ndarray, energies: np.ndarray) -> str:
    numbers = ", ".join(str(number) for number in frames[rows[:5]])
    more = ", …" if len(rows) > 5 else ""
    return f"frame{'s' if len(rows) > 1 else ''} {numbers}{more} ({energies[rows[0]]:.6g} as read in eV)"
