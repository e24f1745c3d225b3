"""How files are read: which labels, in which units, and what becomes of frames that are not in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch

BadFrames = Literal["error", "skip"]
MissingLabels = Literal["error", "skip", "mask"]
Duplicates = Literal["skip", "keep", "error"]


@dataclass(frozen=True)
class ReadOptions:
    """Settings of `open_structures`.

    Args:
        targets: labels to read, by name: "energy", "forces", "stress", or any other one of the file. Empty takes
            energy, forces and stress, as far as the first frame has them.
        names: name of a label in the file, by target, as `{"energy": "REF_energy"}`. The name "virials" gives the
            stress as minus these virials over the volume.
        units: units of the file: of "length" (Å, bohr, nm), of "energy" (eV, meV, Ha, kcal/mol, kJ/mol, Ry), and of
            any target by its name (forces: "Ha/bohr"; stress: GPa, kbar, "eV/Å^3"). By default Å and eV, for .npz
            Å and kcal/mol; forces in energy/length and stress in energy/length³ of the file.
        bad_frames: what becomes of a frame that cannot be read, has unknown elements, or numbers that are not
            finite: "error" stops, "skip" leaves it out and counts it.
        missing_labels: what becomes of a frame without one of the labels: "error" stops, "skip" leaves the frame
            out and counts it, "mask" fills the label with NaN (also where it is NaN throughout in the file), and
            reads files that have no labels at all.
        duplicates: what becomes of a frame with exactly the atoms, positions and cell of an earlier one: "skip"
            leaves it out and counts it, "keep" keeps it, "error" stops. If its labels differ from the earlier
            ones, both "skip" and "error" stop.
        in_memory: whether all structures are held in memory or read from disk one by one; None holds up to 20,000.
        dtype: of positions, vectors and tensors; scalars per structure, as the energy, are always float64.

    Raises:
        ValueError: if an option is not one of its values.

    Example:
        >>> ReadOptions(targets=("dipole",), units={"dipole": "D"}).bad_frames
        'error'
    """

    targets: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    bad_frames: BadFrames = "error"
    missing_labels: MissingLabels = "error"
    duplicates: Duplicates = "skip"
    in_memory: bool | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        choices = {"bad_frames": BadFrames, "missing_labels": MissingLabels, "duplicates": Duplicates}
        for name, allowed in choices.items():
            _one_of(name, getattr(self, name), get_args(allowed))
        if self.in_memory is not None and not isinstance(self.in_memory, bool):
            raise ValueError(f"in_memory: expected True, False or None, got {self.in_memory!r}")
        if not isinstance(self.dtype, torch.dtype) or not self.dtype.is_floating_point:
            raise ValueError(f"dtype: expected a floating point type, got {self.dtype}")
        for name in ("names", "units"):
            _texts(name, getattr(self, name))
        object.__setattr__(self, "targets", _names(self.targets))


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {allowed}, got {value!r}")


def _texts(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(x, str) and x for x in (*value, *value.values())):
        raise ValueError(f'{name}: expected texts by name, such as {{"energy": "…"}}, got {value!r}')


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(name, str) and name.isidentifier() for name in value):
        raise ValueError(f'targets: expected names such as ("energy", "forces"), got {value!r}')
    names = tuple(value)
    if len(set(names)) < len(names):
        raise ValueError(f"targets: expected each name once, got {names}")
    reserved = sorted({"z", "pos", "cell", "pbc", "batch", "ptr"} & set(names))
    if reserved:
        raise ValueError(f"targets: {reserved} are fields of the structure itself; name the label otherwise")
    return names
