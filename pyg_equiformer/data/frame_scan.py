"""One pass over all frames before they are used: what is left out, and what does not belong together."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch_geometric.data import Data

from .. import keys
from .conversion import FrameConverter, fields_that_differ
from .duplicates import fingerprint, repeated
from .frames import Frame, FrameProblem, located
from .labels import CANONICAL
from .mixed_units import refuse_mixed_energies, stated_mix
from .tally import Tally


@dataclass
class Scan:
    """Frames to use and what to tell of the others."""

    indices: np.ndarray
    structures: list[Data] | None
    periodic: bool
    notes: list[str]


def scan_frames(converter: FrameConverter, *, keep: bool) -> Scan:
    """Read every frame once: leave out what the options leave out, refuse what makes no sense together.

    Args:
        converter: of the frames.
        keep: whether to hold the structures in memory. Otherwise a few numbers per frame are held.

    Raises:
        ValueError: naming file and frame, for a frame that is not in order, unless the options leave it out; for
            energies of mixed units; for equal structures with different labels; if no frame is left.
    """
    source, options = converter.source, converter.options
    seen = _Seen(source.units, options.units)
    left_out, kept, held = Tally(), array("q"), list[dict[str, np.ndarray]]()
    for index in range(len(source)):
        try:
            frame, arrays = converter.read(index)
        except FrameProblem as problem:
            if getattr(options, problem.option) != "skip":
                raise located(source, index, problem) from problem
            left_out.add(f"with {problem.reason}" if problem.option == "bad_frames" else problem.reason, index)
            continue
        kept.append(index)
        seen.add(index, frame, arrays, converter)
        if keep:
            held.append(arrays)
    indices = np.array(kept, dtype=np.int64)
    notes = seen.notes(converter, indices)
    if options.duplicates != "keep":
        again = repeated(seen.structures)
        for row in np.flatnonzero(again >= 0):
            _check_repeated(converter, int(indices[row]), int(indices[again[row]]))
            left_out.add("that repeat an earlier one exactly", int(indices[row]))
        indices, held = indices[again < 0], [a for a, earlier in zip(held, again) if earlier < 0] if keep else held
    if left_out.frames:
        told = "; ".join(f"{n} {what} ({left_out.where(what)})" for what, n in left_out.frames.items())
        notes.insert(0, f"{sum(left_out.frames.values())} of {len(source)} frames left out: {told}")
    if not len(indices):
        raise ValueError(f"{source.path}: no frame is left of {len(source)}: {notes[0] if notes else 'it is empty'}")
    structures = [converter.to_data(arrays, seen.periodic) for arrays in held] if keep else None
    return Scan(indices, structures, seen.periodic, notes)


class _Seen:
    """What is remembered of the frames: a few numbers each."""

    def __init__(self, default_units: Mapping[str, str], given_units: Mapping[str, str]) -> None:
        self.periodic, self.remarks, self.unused, self.masked = False, Tally(), Tally(), Tally()
        self.structures = array("Q")
        self.energies, self.atoms, self.groups = array("d"), array("q"), array("q")
        self._compositions: dict[bytes, int] = {}
        self._stated: dict[str, Tally] = {"energy": Tally(), "length": Tally()}
        self._units = {**default_units, **given_units}
        self._given = given_units

    def add(self, index: int, frame: Frame, arrays: dict[str, np.ndarray], converter: FrameConverter) -> None:
        self.periodic |= bool(arrays[keys.PBC].any())
        for remark, amount in frame.remarks.items():
            self.remarks.add(remark, index, amount)
        for kind, tally in self._stated.items():
            tally.add(frame.units.get(kind, ""), index)
        if converter.options.missing_labels == "mask":
            for label in converter.labels:
                if np.isnan(arrays[label.target.name]).all():
                    self.masked.add(label.target.name, index)
        if converter.options.duplicates != "keep":
            self.structures.append(fingerprint(arrays, (keys.Z, keys.POS, keys.CELL, keys.PBC)))
        if any(label.target.name == keys.ENERGY for label in converter.labels):
            composition = np.sort(arrays[keys.Z]).tobytes()
            self.energies.append(float(arrays[keys.ENERGY]))
            self.atoms.append(len(arrays[keys.Z]))
            self.groups.append(self._compositions.setdefault(composition, len(self._compositions)))
        if not converter.options.targets:
            known = {label.target.name for label in converter.labels}
            for name in CANONICAL:
                if name not in known and frame.has(name):
                    self.unused.add(name, index)

    def notes(self, converter: FrameConverter, indices: np.ndarray) -> list[str]:
        """Everything to tell; refuses mixed units."""
        source = converter.source
        notes = [note for kind, tally in self._stated.items() if (note := stated_mix(kind, tally, self._units, source))]
        if self.energies:
            refuse_mixed_energies(np.array(self.energies), np.array(self.atoms), np.array(self.groups), indices, source)
        for remark, count in self.remarks.amounts.items():
            notes.append(f"{count} {remark} ({self.remarks.where(remark)})")
        for name, count in self.masked.frames.items():
            where = self.masked.where(name)
            notes.append(f"{count} of {len(source)} frames have no {name} ({where}): filled with NaN")
        names = [label.target.name for label in converter.labels]
        for name, count in self.unused.frames.items():
            asked = ",".join((*names, name))
            notes.append(
                f"{name} of {count} frames ({self.unused.where(name)}) are not used, as the first frame has none; "
                f"targets={asked} missing_labels=mask reads them"
            )
        return notes


def _check_repeated(converter: FrameConverter, index: int, earlier: int) -> None:
    source, names = converter.source, [label.target.name for label in converter.labels]
    differ = fields_that_differ(converter.read(index)[1], converter.read(earlier)[1], names)
    if differ:
        raise ValueError(
            f"{source.where(index)}: the same structure as {source.where(earlier)}, but with other {differ}; "
            "correct the labels, or keep both with duplicates=keep"
        )
    if converter.options.duplicates == "error":
        raise ValueError(
            f"{source.where(index)}: the same structure as {source.where(earlier)} (duplicates=skip leaves it out)"
        )
