"""Structures for training: split, neighbours, statistics and batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from .. import keys
from ..data import RadiusGraph
from ..data.structure_sets import Structures
from ..data.transforms import stored_edges
from .batches import BatchPlan, BatchStream, check_sizes, make_loader, pack
from .config import TrainConfig
from .loop_task import LoopData
from .set_checks import Check, Checked, ElementCheck, InputCheck, LabelCheck, check_all
from .statistics import Statistics, collect_statistics

#: Sets in memory with at most this many structures keep their neighbour lists; larger ones find them in every pass.
KEEP_NEIGHBORS = 20_000
#: Structures whose edges are counted for the average degree, where not all have to be counted.
COUNT_EDGES = 2_000


class Prepare:
    """Find the neighbours of a structure, positions first converted to the precision of a run in float64.

    Those that `KNNGraph` or `BondGraph` have chosen stay.

    Args:
        cutoff: radius in Å.
        dtype: of positions and cells; None leaves them as they are.
    """

    def __init__(self, cutoff: float, dtype: torch.dtype | None = None) -> None:
        self.find, self.dtype = RadiusGraph(cutoff), dtype

    def __call__(self, structure: Data) -> Data:
        if self.dtype is not None:
            structure = structure.clone()
            for key in (keys.POS, keys.CELL, keys.NODE_ATTR):
                if key in structure:
                    structure[key] = structure[key].to(self.dtype)
        return structure if structure.get(keys.NEIGHBOR_EDGE_INDEX) is not None else self.find(structure)


class Mapped(Sequence[Data]):
    """A sequence whose items are transformed when they are asked for.

    Args:
        structures: the items.
        transform: applied to each; it must leave its input alone, as PyG's transforms do.
        indices: which of them, in this order; None: all.
    """

    def __init__(
        self,
        structures: Sequence[Data],
        transform: Callable[[Data], Data] | None = None,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.structures, self.transform = structures, transform
        self.indices = None if indices is None else np.asarray(indices)

    def __len__(self) -> int:
        return len(self.structures) if self.indices is None else len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> "Mapped": ...
    def __getitem__(self, index: int | slice) -> "Data | Mapped":
        if isinstance(index, slice):
            return Mapped(self, indices=range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}")
        index = index % len(self)
        item = self.structures[index if self.indices is None else int(self.indices[index])]
        return item if self.transform is None else self.transform(item)

    def __iter__(self) -> Iterator[Data]:
        return (self[i] for i in range(len(self)))


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
        raise ValueError(
            f"cannot set {' + '.join(map(str, sizes))} of {count} structures apart: none would be left; "
            "give --valid and --test, or more structures"
        )
    order = np.random.default_rng(seed).permutation(count).tolist()
    ends = np.cumsum([0, *sizes]).tolist()
    return [sorted(order[a:b]) for a, b in zip(ends, [*ends[1:], count])]


def share(size: float, count: int) -> int:
    """Return how many of `count` structures a part (below 1, at least one structure) or a number of them is."""
    return round(size) if size >= 1 or size == 0 else max(1, round(size * count))


class StructureDataModule(LoopData):
    """Split structures once and serve them in batches, in an order that depends on the seed alone.

    Args:
        structures: the labelled structures.
        cutoff: radius in Å of the neighbour lists.
        config: batch sizes, split, seed and workers.

    Raises:
        ValueError: if a structure lacks finite labels or inputs that the network asks for, another set has an element
            that the training set has not, or a set would be empty.
    """

    def __init__(self, structures: Structures, *, cutoff: float, config: TrainConfig) -> None:
        super().__init__()
        self.config, self.targets, self.notes = config, structures.targets, structures.notes
        self._add_neighbors = Prepare(cutoff, torch.float64 if config.precision == "float64" else None)
        self._keep = not structures.streamed and len(structures.train) <= KEEP_NEIGHBORS
        self._streamed = structures.streamed
        train, valid, tests = _split(structures, config)
        self._chosen = train[0].get(keys.NEIGHBOR_EDGE_INDEX) is not None
        if self._chosen and config.denoising != "none":
            raise ValueError(
                f"denoising: {config.denoising!r} moves atoms, and neighbours chosen by KNNGraph or BondGraph would "
                "not follow; expected 'none'"
            )
        train = self._checked(train, "the training set")
        self.train = self._with_neighbors(train, "the training set")
        # Where edges are not counted for their own sake, a sample gives the average degree.
        counted = None if config.max_edges or self._keep else COUNT_EDGES
        self.statistics: Statistics = self._collect(train, counted)
        check_sizes(self.statistics.num_edges, config.max_edges)
        elements = self.statistics.elements
        self.valid = self._with_neighbors(self._checked(valid, "the validation set", elements), "the validation set")
        self.tests = {
            name: self._with_neighbors(self._checked(part, f"the {name} set", elements), f"the {name} set")
            for name, part in tests.items()
        }
        self.own_valid_batches = 0  #: validation batches of this device that count

    def _checked(self, part: Sequence[Data], what: str, elements: tuple[int, ...] | None = None) -> Sequence[Data]:
        """Check labels, inputs and elements, those of streamed sets whenever a structure is read."""
        masked = self.config.read.get("missing_labels") == "mask"
        checks: list[Check] = [LabelCheck(what, tuple(t.name for t in self.targets), masked)]
        checks.append(InputCheck(what, self.config.model, self._chosen))
        if elements is not None:
            checks.append(ElementCheck(what, elements))
        if self._streamed:
            return Checked(part, *checks)
        check_all(part, *checks)
        return part

    def _with_neighbors(self, part: Sequence[Data], what: str) -> Sequence[Data]:
        if not self._keep:
            return Mapped(part, self._add_neighbors)
        found = []
        for index, structure in enumerate(part):
            try:
                found.append(self._add_neighbors(structure))
            except ValueError as error:
                raise ValueError(f"structure {index} of {what}: {error}") from None
        return found

    def _collect(self, train: Sequence[Data], counted: int | None) -> Statistics:
        if counted is None:
            return collect_statistics(self.train, self.targets)
        # Neighbours only for those that are counted: finding them is most of the pass.
        items = (self._add_neighbors(s) if i < counted else s for i, s in enumerate(train))
        return collect_statistics(items, self.targets, counted)

    def fingerprint(self) -> dict[str, float]:
        """Return a few numbers that tell whether a resumed run has the same data."""
        return self.statistics.fingerprint()

    def batches_per_pass(self) -> int:
        """Return the number of batches of this device in the first pass over the training structures."""
        return len(self._plan().batches(0))

    def _plan(self) -> BatchPlan:
        c = self.config
        sizes = self.statistics.num_edges if c.max_edges else None
        return BatchPlan(
            len(self.train),
            c.batch_size,
            seed=c.seed,
            sizes=sizes,
            max_edges=c.max_edges,
            rank=self.rank,
            devices=self.devices,
        )

    def train_dataloader(self) -> BatchStream:
        plan = self._plan()
        length = None if self.config.epochs is None else self.config.epochs * len(plan.batches(0))
        return BatchStream(self.train, plan, length=length, workers=self.config.workers, pin_memory=self._pin())

    def val_dataloader(self) -> DataLoader:
        """Serve this device's share of the validation set; nothing is stored for long, so batches are larger."""
        c, sizes, size = self.config, None, 4 * self.config.batch_size
        if c.max_edges and self._keep:
            sizes = np.array([stored_edges(s).shape[1] for s in self.valid])
        elif c.max_edges:
            size = 1  # edges are known when they are found: one structure at a time keeps the bound
        batches = pack(range(len(self.valid)), size, sizes, c.max_edges)
        mine = batches[self.rank :: self.devices]
        self.own_valid_batches = len(mine)
        # The devices step together: one that has fewer batches takes another, which does not count.
        mine += batches[: -(-len(batches) // self.devices) - len(mine)]
        return make_loader(self.valid, batch_sampler=mine, num_workers=self.config.workers, pin_memory=self._pin())

    def _pin(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


def _split(
    structures: Structures, config: TrainConfig
) -> tuple[Sequence[Data], Sequence[Data], dict[str, Sequence[Data]]]:
    """Return training, validation and test sets, cut out of the first where they are not given."""
    count = len(structures.train)
    if not count:
        raise ValueError("the training set is empty, expected at least one structure")
    apart = [
        0 if given is not None else share(fraction, count)
        for given, fraction in ((structures.valid, config.valid_fraction), (structures.test, config.test_fraction))
    ]
    seed = config.seed if config.split_seed is None else config.split_seed
    parts = split_at_random(count, apart, seed)
    if config.train_size is not None:
        if config.train_size > len(parts[2]):
            raise ValueError(
                f"train_size: expected at most the {len(parts[2])} structures left, got {config.train_size}"
            )
        if config.train_size < len(parts[2]):
            drawn = split_at_random(len(parts[2]), [config.train_size], seed)[0]
            parts[2] = [parts[2][i] for i in drawn]
    cut: list[Sequence[Data]] = [_pick(structures, part) for part in parts]
    valid = cut[0] if structures.valid is None else structures.valid
    if structures.test is None:
        tests: dict[str, Sequence[Data]] = {"test": cut[1]}
    else:
        tests = dict(structures.test) if isinstance(structures.test, Mapping) else {"test": structures.test}
    for name, part in (("validation", valid), *tests.items()):
        if not len(part):
            raise ValueError(f"the {name} set is empty, expected at least one structure")
    return cut[2], valid, tests


def _pick(structures: Structures, indices: Sequence[int]) -> Sequence[Data]:
    view = Mapped(structures.train, indices=indices)
    return view if structures.streamed else list(view)
