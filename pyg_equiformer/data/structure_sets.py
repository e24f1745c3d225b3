"""What a data source hands over: structures, what their labels mean, and what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch_geometric.data import Data

from .. import keys

TargetKind = Literal["graph_scalar", "graph_vector", "graph_tensor", "node_scalar", "node_vector"]


@dataclass(frozen=True)
class Target:
    """One kind of label: its field in the data, what it belongs to, and its unit.

    Args:
        name: field of the `Data`: "energy", "forces", "stress", "dipole", "gap", …
        kind: shape of the field in a batch of B structures with N atoms: `"graph_scalar"` [B], `"graph_vector"`
            [B, 3], `"graph_tensor"` [B, 3, 3], `"node_scalar"` [N] or `"node_vector"` [N, 3].
        unit: unit of the values: "eV", "eV/Å", "eV/Å³", "D", …; "" where it is not known.

    Raises:
        ValueError: if the kind is not one of these.

    Example:
        >>> Target("forces", "node_vector", "eV/Å").error_unit
        (1000.0, 'meV/Å')
    """

    name: str
    kind: TargetKind
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(TargetKind):
            raise ValueError(f"{self.name}: expected a kind among {get_args(TargetKind)}, got {self.kind!r}")

    @property
    def per_atom(self) -> bool:
        return self.kind.startswith("node")

    @property
    def error_unit(self) -> tuple[float, str]:
        """Factor and unit in which errors are told: thousandths of energies in eV, other units as they are."""
        return (1e3, f"m{self.unit}") if self.unit == "eV" or self.unit.startswith("eV/") else (1.0, self.unit)


ENERGY = Target(keys.ENERGY, "graph_scalar", "eV")
FORCES = Target(keys.FORCES, "node_vector", "eV/Å")
STRESS = Target(keys.STRESS, "graph_tensor", "eV/Å³")


@dataclass(frozen=True)
class StructureSet:
    """Labelled structures from one source.

    Args:
        structures: `Data` with `z` [n], `pos` [n, 3] in Å, perhaps `cell` [1, 3, 3] in Å and `pbc` [1, 3], and one
            field per target with a leading axis of 1 (per structure) or n (per atom). A list, or a sequence that
            reads from disk when it is asked for an item.
        targets: the labels that the structures carry; NaN where a label is missing.
        name: short name for folders and titles.
        notes: what a user should know of the reading: how many frames were left out and why, for example.
        streamed: whether structures are read from disk one at a time.
    """

    structures: Sequence[Data]
    targets: tuple[Target, ...] = (ENERGY, FORCES)
    name: str = "data"
    notes: tuple[str, ...] = ()
    streamed: bool = False

    def __len__(self) -> int:
        return len(self.structures)


@dataclass(frozen=True)
class Structures:
    """Labelled structures of a run; sets that are None are taken from `train` at random.

    Args:
        train: structures with `z` [n], `pos` [n, 3] in Å and the labels, see `StructureSet`.
        valid: structures to watch the training with.
        test: structures for the final test, or several such sets by name.
        name: short name for folders and titles.
        targets: the labels.
        notes: what a user should know of the reading.
        streamed: whether structures are read from disk one at a time.
    """

    train: Sequence[Data]
    valid: Sequence[Data] | None = None
    test: Sequence[Data] | Mapping[str, Sequence[Data]] | None = None
    name: str = "data"
    targets: tuple[Target, ...] = field(default=(ENERGY, FORCES))
    notes: tuple[str, ...] = ()
    streamed: bool = False
