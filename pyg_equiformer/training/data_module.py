"""Structures for training: split, neighbours, energy scale and batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from .. import keys
from ..data import RadiusGraph
from .engine import LightningDataModule


@dataclass(frozen=True)
class Structures:
    """Labelled structures of a run; sets that are None are taken from `train` at random.

    Args:
        train: structures with `z` [N], `pos` [N, 3] in Å, `energy` [1] in eV and `forces` [N, 3] in eV/Å.
        valid: structures to watch the training with.
        test: structures for the final test.
        name: short name for folders and titles.
    """

    train: Sequence[Data]
    valid: Sequence[Data] | None = None
    test: Sequence[Data] | None = None
    name: str = "data"


@dataclass(frozen=True)
class EnergyScale:
    """What stands between a network and energies in eV.

    Args:
        atomic_energies: reference energy of each element in eV, by atomic number.
        scale: the unit of the network's output in eV.
    """

    atomic_energies: dict[int, float]
    scale: float


def fit_energy_scale(structures: Sequence[Data]) -> EnergyScale:
    r"""Fit reference energies of the elements, and the scale of what remains, in float64.

    .. math:: \min_e \sum_b \big( E_b - \sum_{i \in b} e_{z_i} \big)^2

    Where the compositions do not tell the elements apart (one molecule, clusters of water), the solution with
    the smallest reference energies is taken: the sums are right, the single values mean nothing. The scale is
    the root mean square of the force components times 1 Å, or the spread of the remaining energies where all
    forces are zero.

    Args:
        structures: structures with `z` [N], `energy` [1] in eV and `forces` [N, 3] in eV/Å.

    Raises:
        ValueError: if there is no structure.

    Example:
        >>> import torch
        >>> water = Data(z=torch.tensor([8, 1, 1]), energy=torch.tensor([-90.0]), forces=torch.ones(3, 3))
        >>> fit = fit_energy_scale([water])
        >>> round(fit.atomic_energies[8] + 2 * fit.atomic_energies[1], 9), fit.scale
        (-90.0, 1.0)
    """
    if not structures:
        raise ValueError("expected at least one structure, got none")
    elements = torch.cat([s[keys.Z] for s in structures]).unique().tolist()
    counts = np.array([[int((s[keys.Z] == z).sum()) for z in elements] for s in structures], dtype=np.float64)
    energies = np.array([float(s[keys.ENERGY]) for s in structures])
    references = np.linalg.lstsq(counts, energies, rcond=None)[0]
    forces = torch.cat([s[keys.FORCES] for s in structures]).double()
    scale = float(forces.square().mean().sqrt()) or float((energies - counts @ references).std()) or 1.0
    return EnergyScale(dict(zip(elements, references.tolist())), scale)


def split_at_random(count: int, sizes: Sequence[int], seed: int) -> list[list[int]]:
    """Draw disjoint sets of the given sizes out of `count` items, and the rest, in that order.

    Args:
        count: number of items.
        sizes: number of items in each set to draw.
        seed: seed of the draw, which is independent of torch's and NumPy's global state.

    Raises:
        ValueError: if nothing would be left.

    Example:
        >>> drawn, rest = split_at_random(5, [2], seed=0)
        >>> len(drawn), sorted(drawn + rest)
        (2, [0, 1, 2, 3, 4])
    """
    if sum(sizes) >= count:
        raise ValueError(f"cannot set {' + '.join(map(str, sizes))} of {count} structures apart: none would be left")
    order = np.random.default_rng(seed).permutation(count).tolist()
    ends = np.cumsum([0, *sizes]).tolist()
    return [sorted(order[a:b]) for a, b in zip(ends, [*ends[1:], count])]


def check_labels(structures: Sequence[Data], what: str) -> None:
    """Raise a `ValueError` that names the first structure without finite energy and forces."""
    if not structures:
        raise ValueError(f"the {what} set is empty, expected at least one structure")
    for index, structure in enumerate(structures):
        for key in (keys.ENERGY, keys.FORCES):
            if structure.get(key) is None:
                raise ValueError(f"structure {index} of the {what} set has no {key}, expected an energy and forces")
            if not bool(torch.isfinite(structure[key]).all()):
                raise ValueError(f"structure {index} of the {what} set has {key} that are NaN or infinite")


class StructureDataModule(LightningDataModule):
    """Split structures once and serve them in batches, in an order that depends on the seed alone.

    Args:
        structures: the labelled structures.
        cutoff: radius in Å of the neighbour lists, which are computed once, beforehand.
        batch_size: structures per training step.
        valid_fraction: part of the training structures to watch the training with, where no set is given.
        test_fraction: part of the training structures for the test, where no set is given.
        seed: seed of the split and of the order.

    Raises:
        ValueError: if a structure lacks finite labels or a set would be empty.
    """

    def __init__(
        self,
        structures: Structures,
        *,
        cutoff: float,
        batch_size: int = 5,
        valid_fraction: float = 0.05,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        check_labels(structures.train, "training")
        count = len(structures.train)
        apart = [
            0 if given is not None else max(1, round(fraction * count))
            for given, fraction in ((structures.valid, valid_fraction), (structures.test, test_fraction))
        ]
        valid, test, train = ([structures.train[i] for i in part] for part in split_at_random(count, apart, seed))
        if structures.valid is not None:
            valid = list(structures.valid)
            check_labels(valid, "validation")
        if structures.test is not None:
            test = list(structures.test)
            check_labels(test, "test")
        add_neighbors = RadiusGraph(cutoff)
        self.train, self.valid, self.test = ([add_neighbors(s) for s in part] for part in (train, valid, test))
        self._shuffle = torch.Generator().manual_seed(seed)

    def averages(self) -> dict[str, float]:
        """Return `avg_num_nodes` and `avg_degree` of the training structures, by their names in the model."""
        atoms = sum(s.num_nodes for s in self.train)
        edges = sum(s[keys.RADIUS_EDGE_INDEX].shape[1] for s in self.train)
        # Lone atoms have no edges to average over.
        return {"avg_num_nodes": atoms / len(self.train), "avg_degree": edges / atoms or 1.0}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True, generator=self._shuffle)

    def val_dataloader(self) -> DataLoader:
        return self.evaluation_dataloader(self.valid)

    def test_dataloader(self) -> DataLoader:
        return self.evaluation_dataloader(self.test)

    def evaluation_dataloader(self, structures: Sequence[Data]) -> DataLoader:
        """Serve structures in order; nothing is stored for a backward pass, so batches are larger."""
        return DataLoader(list(structures), 4 * self.batch_size)
