"""What a run has to know of its training set before the first step, from one pass over it in float64."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch_geometric.data import Data

from .. import keys
from ..data.structure_sets import Target
from ..data.transforms import stored_edges


@dataclass
class LabelSums:
    """Number, sum and sum of squares of the components of a label, about a first value that keeps digits."""

    count: int = 0
    origin: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    raw_squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        known = values[np.isfinite(values)].astype(np.float64)
        if not known.size:
            return
        if not self.count:
            self.origin = float(known.flat[0])
        self.count += known.size
        self.total += float((known - self.origin).sum())
        self.squares += float(((known - self.origin) ** 2).sum())
        self.raw_squares += float((known**2).sum())

    @property
    def mean(self) -> float:
        return self.origin + self.total / self.count if self.count else 0.0

    @property
    def std(self) -> float:
        if not self.count:
            return 0.0
        return float(np.sqrt(max(self.squares / self.count - (self.total / self.count) ** 2, 0.0)))

    @property
    def rms(self) -> float:
        return float(np.sqrt(self.raw_squares / self.count)) if self.count else 0.0


@dataclass
class Statistics:
    """Sizes, elements and labels of a set of structures.

    Args:
        num_atoms: atoms of each structure.
        num_edges: edges of each structure, or of the first ones where not all were counted.
        elements: atomic numbers that occur.
        labels: sums of each label's components, by name.
        compositions: for each scalar label per structure: composition → number and sum of its values.
    """

    num_atoms: np.ndarray
    num_edges: np.ndarray
    elements: tuple[int, ...]
    labels: dict[str, LabelSums] = field(default_factory=dict)
    compositions: dict[str, dict[tuple[tuple[int, int], ...], LabelSums]] = field(default_factory=dict)

    def averages(self) -> dict[str, float]:
        """Return `avg_num_nodes` and `avg_degree`, by their names in the model."""
        atoms = int(self.num_atoms[: len(self.num_edges)].sum())
        # Lone atoms have no edges to average over.
        degree = float(self.num_edges.sum()) / atoms if atoms else 0.0
        return {"avg_num_nodes": float(self.num_atoms.mean()), "avg_degree": degree or 1.0}

    def element_references(self, name: str) -> dict[int, float]:
        r"""Fit reference values of the elements to a scalar per structure by least squares.

        .. math:: \min_e \sum_b \big( y_b - \sum_{i \in b} e_{z_i} \big)^2

        Where the compositions do not tell the elements apart (one molecule, clusters of water), the solution with
        the smallest values is taken: the sums are right, the single values mean nothing.
        """
        groups = self.compositions[name]
        counts = np.array([[dict(c).get(z, 0) for z in self.elements] for c in groups], dtype=np.float64)
        weights = np.sqrt([g.count for g in groups.values()])
        means = np.array([g.mean for g in groups.values()])
        fit = np.linalg.lstsq(counts * weights[:, None], means * weights, rcond=None)[0]
        return dict(zip(self.elements, fit.tolist()))

    def spread(self, name: str, references: Mapping[int, float] | None = None) -> float:
        """Return the standard deviation of a label's components, reference values of the elements taken off."""
        if not references:
            return self.labels[name].std
        total = LabelSums()
        for composition, group in self.compositions[name].items():
            offset = group.mean - sum(references[z] * n for z, n in composition)
            total.count += group.count
            total.total += group.count * offset
            total.squares += group.count * (group.std**2 + offset**2)
        return total.std

    def fingerprint(self) -> dict[str, float]:
        """Return a few numbers that tell whether a resumed run has the same data."""
        found = {"structures": float(len(self.num_atoms)), "atoms": float(self.num_atoms.sum())}
        return found | {
            f"{name}_{k}": v for name, s in self.labels.items() for k, v in (("mean", s.mean), ("std", s.std))
        }


def collect_statistics(
    structures: Iterable[Data], targets: Sequence[Target], count_edges: int | None = None
) -> Statistics:
    """Go once over structures and return their statistics; memory does not grow but for a few bytes each.

    Args:
        structures: with labels, and edges where these are to be counted.
        targets: the labels.
        count_edges: count the edges of this many structures only; None: of all.

    Raises:
        ValueError: if there is no structure, or a target has no known label at all.
    """
    atoms: list[int] = []
    edges: list[int] = []
    elements: set[int] = set()
    labels = {t.name: LabelSums() for t in targets}
    scalars = [t.name for t in targets if t.kind == "graph_scalar"]
    compositions: dict[str, dict] = {name: defaultdict(LabelSums) for name in scalars}
    for structure in structures:
        z = structure[keys.Z].numpy()
        found, numbers = np.unique(z, return_counts=True)
        elements.update(found.tolist())
        atoms.append(len(z))
        index = stored_edges(structure)
        if index is not None and (count_edges is None or len(edges) < count_edges):
            edges.append(index.shape[1])
        for target in targets:
            labels[target.name].add(structure[target.name].double().numpy())
        for name in scalars:
            compositions[name][tuple(zip(found.tolist(), numbers.tolist()))].add(structure[name].double().numpy())
    if not atoms:
        raise ValueError("expected at least one structure, got none")
    for name, sums in labels.items():
        if not sums.count:
            raise ValueError(f"the training set has no known {name} at all, expected labels to train on")
    known = {name: {c: g for c, g in groups.items() if g.count} for name, groups in compositions.items()}
    return Statistics(np.array(atoms), np.array(edges), tuple(sorted(elements)), labels, known)
