"""Which structures are in which batch: a stream that a seed and a position determine, for any number of devices."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader


def pack(
    order: Sequence[int], batch_size: int, sizes: np.ndarray | None = None, limit: int | None = None
) -> list[list[int]]:
    """Cut an order of structures into batches of at most `batch_size` structures and `limit` edges.

    Args:
        order: indices of structures.
        batch_size: most structures per batch.
        sizes: edges of each structure, where there is a limit.
        limit: most edges per batch; a structure that has more on its own is an error of `check_sizes`.

    Example:
        >>> pack([0, 1, 2, 3], 3, np.array([4, 5, 1, 1]), limit=8)
        [[0], [1, 2, 3]]
    """
    if sizes is None or limit is None:
        return [list(order[i : i + batch_size]) for i in range(0, len(order), batch_size)]
    batches: list[list[int]] = []
    edges = limit + 1
    for index in order:
        size = int(sizes[index])
        if edges + size > limit or len(batches[-1]) == batch_size:
            batches.append([])
            edges = 0
        batches[-1].append(index)
        edges += size
    return batches


class BatchPlan:
    """The batches of every pass over the structures, the same on every device, and each device's share of them.

    A pass is a permutation drawn from (seed, pass), cut into batches that are dealt to the devices in turn. Where
    their number is no multiple of the devices', the first batches are dealt once more, so that all devices take as
    many steps.

    Args:
        count: number of structures.
        batch_size: structures per batch.
        seed: of the permutations.
        sizes: edges of each structure; None without `max_edges`.
        max_edges: most edges per batch.
        rank, devices: which device this is, of how many.
        shuffle: False keeps the order of the structures.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int = 0,
        sizes: np.ndarray | None = None,
        max_edges: int | None = None,
        rank: int = 0,
        devices: int = 1,
        shuffle: bool = True,
    ) -> None:
        if count < 1:
            raise ValueError("expected at least one structure, got none")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.sizes, self.max_edges, self.shuffle = sizes, max_edges, shuffle
        self.rank, self.devices = rank, devices

    def batches(self, epoch: int) -> list[list[int]]:
        """Return this device's batches in pass `epoch`."""
        order = (
            np.random.default_rng((self.seed, epoch)).permutation(self.count) if self.shuffle else np.arange(self.count)
        )
        batches = pack(order.tolist(), self.batch_size, self.sizes, self.max_edges)
        whole = -len(batches) % self.devices
        batches += [batches[i % len(batches)] for i in range(whole)]
        return batches[self.rank :: self.devices]


class _Positions:
    """A batch sampler over pass after pass, from a position on; it never ends."""

    def __init__(self, plan: BatchPlan, epoch: int, done: int) -> None:
        self.plan, self.epoch, self.done = plan, epoch, done

    def __iter__(self) -> Iterator[list[int]]:
        epoch, done = self.epoch, self.done
        while True:
            yield from self.plan.batches(epoch)[done:]
            epoch, done = epoch + 1, 0


class BatchStream:
    """The batches of a whole run, one pass after another; it can be left and taken up again at any batch.

    For Lightning the run is one epoch of `length` batches, so that a run that was killed goes on at the batch where
    its last checkpoint was written, in the middle of a pass or not.

    Args:
        structures: to serve.
        plan: which of them are in which batch.
        length: batches of the run on this device; None for no end but the clock's.
        workers: processes that read and collate; 0: none beside the main one.
        pin_memory: whether batches are laid in memory that a GPU copies from quickly.
    """

    #: What stands for "no end": more batches than any run has.
    ENDLESS = 2**40

    def __init__(
        self,
        structures: Sequence[Data],
        plan: BatchPlan,
        *,
        length: int | None,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.structures, self.plan, self.length = structures, plan, length
        self.workers, self.pin_memory = workers, pin_memory
        self.epoch = self.done = 0  #: passes, and batches of the pass under way, that were handed out

    def __len__(self) -> int:
        return self.ENDLESS if self.length is None else self.length

    def __iter__(self) -> Iterator[Data]:
        loader = make_loader(
            self.structures,
            batch_sampler=_Positions(self.plan, self.epoch, self.done),
            num_workers=self.workers,
            pin_memory=self.pin_memory,
        )
        in_pass = len(self.plan.batches(self.epoch))
        for batch in loader:
            if self.done == in_pass:
                self.epoch, self.done = self.epoch + 1, 0
                in_pass = len(self.plan.batches(self.epoch))
            self.done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position behind the last batch that was handed out."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at this position."""
        self.epoch, self.done = int(state["epoch"]), int(state["done"])


def make_loader(structures: Sequence[Data], **options: Any) -> DataLoader:
    """Return PyG's loader over a sequence; its workers use one thread each."""
    return DataLoader(structures, worker_init_fn=_one_thread, **options)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def check_sizes(sizes: np.ndarray, limit: int | None, what: str = "training") -> None:
    """Raise a `ValueError` if a single structure has more edges than a batch may have."""
    if limit is not None and sizes.size and int(sizes.max()) > limit:
        raise ValueError(
            f"max_edges: expected at least the {int(sizes.max())} edges of structure {int(sizes.argmax())} of the "
            f"{what} set, got {limit}"
        )
