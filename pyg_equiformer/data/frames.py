"""One structure as a file tells it, before units and labels are settled, and what a source of such frames offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One structure in the units of its file.

    Args:
        numbers: atomic numbers [n]; 0 for an element that is not known.
        positions: [n, 3].
        cell: rows are the cell vectors [3, 3]; None without.
        pbc: whether the structure repeats along each cell vector [3]; None where nowhere.
        per_structure: labels of the structure by their name in the file.
        per_atom: labels of the atoms, with a leading axis of n.
        by_shape: labels of which only the shape tells what they belong to.
        units: units that the frame itself states for "length" and "energy".
        label_units: units that the frame states for single labels.
        remarks: things left out in reading the frame, and how many.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    per_structure: Mapping[str, Any] = field(default_factory=dict)
    per_atom: Mapping[str, Any] = field(default_factory=dict)
    by_shape: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    label_units: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return any(group.get(name) is not None for group in (self.per_structure, self.per_atom, self.by_shape))

    def label_names(self) -> list[str]:
        """Names of everything with numbers in it, sorted."""
        everything = {**self.per_structure, **self.per_atom, **self.by_shape}
        return sorted(name for name, value in everything.items() if np.asarray(value).dtype.kind in "fiu")


class FrameProblem(ValueError):
    """A frame cannot be used; `option` is the reading option that decides what becomes of it.

    Args:
        reason: few words, the same for all frames with this problem: they are counted by it.
        message: what was given and what was expected.
        option: "bad_frames" or "missing_labels".
    """

    def __init__(self, reason: str, message: str, option: str = "bad_frames") -> None:
        super().__init__(message)
        self.reason, self.option = reason, option


#: Units of the formats of ASE.
EV_ANGSTROM: Mapping[str, str] = MappingProxyType({"length": "Å", "energy": "eV"})


class FrameSource(ABC):
    """Frames of a file or folder, by index; opened anew in every process, so that it can be pickled."""

    path: Path
    #: What a user should know of the source as a whole.
    notes: tuple[str, ...] = ()
    #: Units of "length" and "energy", and of labels, where nothing else is said.
    units: Mapping[str, str] = EV_ANGSTROM
    #: Name in the file of "energy" and "forces", where the layout fixes it.
    aliases: Mapping[str, str] = MappingProxyType({})
    #: Why a frame cannot be read again without holding all of them; "" where it can.
    held_because: str = ""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Frame:
        """Return a frame, or raise a `FrameProblem`."""

    def where(self, index: int) -> str:
        """Name file and frame for messages."""
        return f"{self.path}, frame {index}"


def located(source: FrameSource, index: int, problem: FrameProblem) -> ValueError:
    """Return the error that a user sees: where it is, what it is, and the option that goes on without."""
    advice = f"{problem.option}=skip leaves such frames out"
    if problem.option == "missing_labels":
        advice += ", missing_labels=mask reads them without, targets=NAME reads other labels"
    return ValueError(f"{source.where(index)}: {problem} ({advice})")
