"""Which labels are read from a source: by the wish of the user, or what the first frame has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import keys
from .frames import Frame, FrameProblem, FrameSource, located
from .label_units import label_factor, same_unit
from .read_options import ReadOptions
from .structure_sets import Target, TargetKind

#: Labels that are read when none are asked for, and what they belong to.
CANONICAL: dict[str, TargetKind] = {
    keys.ENERGY: "graph_scalar",
    keys.FORCES: "node_vector",
    keys.STRESS: "graph_tensor",
}
_PREFIXES = ("REF_", "ref_", "DFT_", "dft_")
_VIRIALS = ("virials", "virial")


class LabelMissing(ValueError):
    """A file has no such label.

    Args:
        message: what was expected where.
        name: of the target.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Label:
    """Where a target stands in the file.

    Args:
        target: name, kind and unit after reading.
        field: name in the file.
        virial: the field holds the virial, minus the stress times the volume.
    """

    target: Target
    field: str
    virial: bool = False

    def find(self, frame: Frame) -> Any:
        """Return the value in the frame, or None where it is missing."""
        first = frame.per_atom if self.target.per_atom else frame.per_structure
        return first.get(self.field, frame.by_shape.get(self.field))


def choose_labels(source: FrameSource, options: ReadOptions) -> tuple[tuple[Label, ...], list[str]]:
    """Return the labels to read and what a user should know about the choice.

    Raises:
        ValueError: if the source lacks a label that was asked for, has none to read by itself, or a label has a
            shape that belongs to nothing.
    """
    index, frame = _decisive_frame(source, options)
    wanted, notes = options.targets or _present(source, frame, options), list[str]()
    if not wanted and options.missing_labels != "mask":
        raise ValueError(
            f"{source.where(index)}: found neither energy nor forces nor stress, only {frame.label_names()}; "
            "say what to read with targets=NAME, or what they are called with names"
        )
    for name in options.names:
        if name not in wanted and not (name in _VIRIALS and keys.STRESS in wanted):
            raise ValueError(f"names: {name!r} is not among the targets {tuple(wanted)}, expected targets={name} too")
    for name in options.units:
        if name not in (*wanted, "energy", "length"):
            raise ValueError(f"units: {name!r} is neither length nor energy nor among the targets {tuple(wanted)}")
    labels = []
    for name in wanted:
        field, virial, note = _field(name, frame, source, options)
        if not frame.has(field):
            index, frame = _first_with(field, source, options) or (index, frame)
        labels.append(_label(name, field, virial, source, index, frame, options))
        notes += [note] if note else []
    for name in _VIRIALS:
        if frame.has(name) and keys.STRESS not in wanted and not options.targets:
            notes.append(f"{name} of the file are not used; names virials={name} reads them as stress")
    return tuple(labels), notes


def _decisive_frame(source: FrameSource, options: ReadOptions) -> tuple[int, Frame]:
    """The first frame that can be read, or the first with labels where the others are skipped."""
    first = None
    for index, frame in readable_frames(source, options):
        first = first or (index, frame)
        if options.targets or options.missing_labels != "skip":
            return first
        if _present(source, frame, options):
            return index, frame
    if first is None:
        raise ValueError(f"{source.path}: not one frame can be read, expected at least one")
    return first


def readable_frames(source: FrameSource, options: ReadOptions) -> Iterator[tuple[int, Frame]]:
    """Yield index and frame in turn; frames that cannot be read stop it, or are passed over where they may be."""
    for index in range(len(source)):
        try:
            yield index, source.read(index)
        except FrameProblem as problem:
            if options.bad_frames == "error":
                raise located(source, index, problem) from problem


def _present(source: FrameSource, frame: Frame, options: ReadOptions) -> tuple[str, ...]:
    """Energy, forces and stress, as far as the frame has them, and those which the user names."""
    named = {keys.STRESS if name in _VIRIALS else name for name in options.names}
    found = []
    for name in CANONICAL:
        field, virial, _ = _field(name, frame, source, options)
        if name in named or (frame.has(field) and not virial):
            found.append(name)
    return tuple(found)


def _field(name: str, frame: Frame, source: FrameSource, options: ReadOptions) -> tuple[str, bool, str]:
    """Name of the target in the file, whether it is the virial, and a note if that is not obvious."""
    given = {key: value for key, value in options.names.items() if key == name}
    virial = {key: value for key, value in options.names.items() if key in _VIRIALS and name == keys.STRESS}
    if given and virial:
        raise ValueError("names: got both stress and virials, expected one of them")
    if given or virial:
        return next(iter({**given, **virial}.values())), bool(virial), ""
    plain = source.aliases.get(name, name)
    others = [prefix + name for prefix in _PREFIXES if name in CANONICAL and frame.has(prefix + name)]
    if frame.has(plain):
        note = f"the file has {name} and {others[0]}: {name} was read" if others else ""
        return plain, False, f"{note}; names {name}={others[0]} reads the other" if note else ""
    if others:
        return others[0], False, f"{name} was read from {others[0]}"
    virials = [field for field in _VIRIALS if name == keys.STRESS and frame.has(field)]
    if virials:
        return virials[0], True, f"stress was read from {virials[0]}: minus {virials[0]} over the volume"
    return plain, False, ""


def _first_with(field: str, source: FrameSource, options: ReadOptions) -> tuple[int, Frame] | None:
    """The first frame with the label, if frames may lack it."""
    if options.missing_labels == "error":
        return None
    return next(((index, frame) for index, frame in readable_frames(source, options) if frame.has(field)), None)


def _label(
    name: str, field: str, virial: bool, source: FrameSource, index: int, frame: Frame, options: ReadOptions
) -> Label:
    where = source.where(index)
    if not frame.has(field):
        if options.missing_labels == "mask" and name in CANONICAL:
            kind = CANONICAL[name]
        else:
            found = f"expected {field}, found only {frame.label_names() or 'positions'}"
            if options.missing_labels == "error":
                advice = "if later frames have it, missing_labels=skip leaves out those without"
            else:
                advice = "and no frame has it"
            raise LabelMissing(f"{where}: {found}; {advice}", name)
    else:
        kind = _kind(where, name, field, source, options, frame)
    units = general_units(frame, source, options)
    unit = specific_unit(name, field, frame, source, options)
    try:
        our_unit = label_factor(name, *units, None if virial else unit)[1]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return Label(Target(name, kind, our_unit), field, virial)


def _kind(where: str, name: str, field: str, source: FrameSource, options: ReadOptions, frame: Frame) -> TargetKind:
    kinds = kinds_of(name, frame, field)
    if not kinds:
        value = next(group[field] for group in (frame.per_structure, frame.per_atom, frame.by_shape) if field in group)
        array = np.asarray(value)
        told = f"{value!r}" if array.dtype.kind not in "fiub" else f"shape {array.shape}"
        raise ValueError(
            f"{where}: expected {field} as numbers, got {told}; understood are one number, a vector of 3 or a "
            f"symmetric 3 × 3 tensor per structure, and a number or a vector of 3 per atom ({len(frame.numbers)})"
        )
    if name in CANONICAL:
        if CANONICAL[name] not in kinds:
            raise ValueError(f"{where}: expected {name} as {CANONICAL[name]}, but {field} is {' or '.join(kinds)}")
        return CANONICAL[name]
    if len(kinds) > 1:  # three atoms: another structure tells what the numbers belong to
        for _, other in readable_frames(source, options):
            common = [kind for kind in kinds_of(name, other, field) if kind in kinds]
            if len(common) == 1:
                return common[0]
        raise ValueError(f"{where}: {field} may belong to the structure or to its atoms ({' or '.join(kinds)})")
    return kinds[0]


def kinds_of(name: str, frame: Frame, field: str) -> list[TargetKind]:
    """What a target may be, by where its field stands and by its shape; nothing if it is no label.

    Example:
        >>> water = Frame(np.array([8, 1, 1]), np.zeros((3, 3)), by_shape={"dipole": np.zeros(3)})
        >>> kinds_of("dipole", water, "dipole")
        ['graph_vector', 'node_scalar']
    """
    n = len(frame.numbers)
    found: list[TargetKind] = []
    for group, structure, atoms in (
        (frame.per_structure, True, False),
        (frame.per_atom, False, True),
        (frame.by_shape, True, True),
    ):
        try:
            shape = np.asarray(group.get(field), dtype=np.float64).shape if group.get(field) is not None else None
        except (TypeError, ValueError):
            shape = None
        if shape is None:
            continue
        if structure and shape in ((), (1,)):
            found.append("graph_scalar")
        if structure and shape == (3,):
            found.append("graph_vector")
        if structure and (shape == (3, 3) or (name == keys.STRESS and shape in ((6,), (9,)))):
            found.append("graph_tensor")
        if atoms and shape in ((n,), (n, 1)):
            found.append("node_scalar")
        if atoms and shape == (n, 3):
            found.append("node_vector")
    return found


def general_units(frame: Frame, source: FrameSource, options: ReadOptions) -> tuple[str, str]:
    """Units of energy and length: what the frame states, else what the user says, else those of the format."""
    return _unit("energy", frame.units, source, options) or "eV", _unit("length", frame.units, source, options) or "Å"


def specific_unit(name: str, field: str, frame: Frame, source: FrameSource, options: ReadOptions) -> str | None:
    """Unit of this very label, where there is one."""
    stated = {name: frame.label_units[field]} if field in frame.label_units else {}
    if name == keys.ENERGY and not stated:
        return None  # the general unit of energy
    return _unit(name, stated, source, options)


def _unit(name: str, stated: Any, source: FrameSource, options: ReadOptions) -> str | None:
    said, given = stated.get(name), options.units.get(name)
    if said and given and not same_unit(said, given):
        raise ValueError(f"units: got {name}={given}, but {source.path} itself states {said}")
    return said or given or source.units.get(name)
