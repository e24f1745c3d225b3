"""Checks of the structures of a set: of all at once where they are in memory, else of each when it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from torch_geometric.data import Data

from .. import keys

#: Raises a `ValueError` if there is something wrong with a structure at a place in its set.
Check = Callable[[Data, int], None]


@dataclass(frozen=True)
class LabelCheck:
    """Labels must be there and finite.

    Args:
        what: the set, for the message.
        names: of the labels.
        masked: whether NaN stands for a missing label.
    """

    what: str
    names: tuple[str, ...]
    masked: bool = False

    def __call__(self, structure: Data, index: int) -> None:
        for name in self.names:
            label = structure.get(name)
            where = f"structure {index} of {self.what}"
            if label is None:
                raise ValueError(f"{where} has no {name}, expected {' and '.join(self.names)}")
            if self.masked and bool(label.isinf().any()):
                raise ValueError(f"{where} has {name} that are infinite")
            if not self.masked and not bool(label.isfinite().all()):
                raise ValueError(f"{where} has {name} that are NaN or infinite")


@dataclass(frozen=True)
class ElementCheck:
    """Elements must be among those that a model was trained on: of others it knows nothing, whatever it predicts.

    Args:
        what: the set, for the message.
        elements: atomic numbers in the training set.
    """

    what: str
    elements: tuple[int, ...]

    def __call__(self, structure: Data, index: int) -> None:
        if unknown := sorted(set(structure[keys.Z].tolist()) - set(self.elements)):
            raise ValueError(
                f"structure {index} of {self.what} has atomic numbers {unknown}, which the training set "
                f"({list(self.elements)}) does not have"
            )


#: Fields of a structure that settings of the network ask for.
INPUTS = {
    "num_edge_types": keys.NEIGHBOR_EDGE_TYPE,
    "num_positions": keys.NODE_POSITION,
    "irreps_node": keys.NODE_ATTR,
}


@dataclass(frozen=True)
class InputCheck:
    """What the network asks for must be there, and neighbours be chosen for all structures or for none.

    Args:
        what: the set, for the message.
        model: settings of the network.
        chosen: whether the neighbours are those of `KNNGraph` or `BondGraph`, as in the training set.
    """

    what: str
    model: Mapping[str, Any]
    chosen: bool

    def __call__(self, structure: Data, index: int) -> None:
        where = f"structure {index} of {self.what}"
        for setting, field in INPUTS.items():
            if self.model.get(setting) and structure.get(field) is None:
                raise ValueError(f"{where} has no {field}, which model.{setting}={self.model[setting]!r} asks for")
        if (structure.get(keys.NEIGHBOR_EDGE_INDEX) is not None) != self.chosen:
            told = ("none", "some") if self.chosen else ("some", "none")
            raise ValueError(
                f"{where} has {told[0]} of the neighbours that KNNGraph and BondGraph choose, expected {told[1]} as in "
                "the first structure of the training set"
            )


def check_all(structures: Sequence[Data], *checks: Check) -> None:
    """Check every structure of a set."""
    for index, structure in enumerate(structures):
        for check in checks:
            check(structure, index)


class Checked(Sequence[Data]):
    """Structures that are checked whenever one is asked for.

    Args:
        structures: the items.
        checks: called with an item and its place.
    """

    def __init__(self, structures: Sequence[Data], *checks: Check) -> None:
        self.structures, self.checks = structures, checks

    def __len__(self) -> int:
        return len(self.structures)

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> list[Data]: ...
    def __getitem__(self, index: int | slice) -> Data | list[Data]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        structure = self.structures[index]
        for check in self.checks:
            check(structure, index)
        return structure
