"""A run over structures that are made when they are asked for; tells the most memory that the process ever had.

`python -m tests.training.streamed_run NUMBER FOLDER`
"""

import resource
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch_geometric.data import Data

from pyg_equiformer.data import wrap_dataset
from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training import Structures, TrainConfig, TrainResult, train

from .conftest import TINY


class MadeOnAccess:
    """Hydrogen molecules that are nowhere until one is asked for, and a count of those that are held."""

    def __init__(self, count: int) -> None:
        self.count, self.alive, self.most, self.made = count, 0, 0, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Data:
        length = 0.7 + 0.1 * ((index * 0.6180339887) % 1.0)
        force = 2 * 5.0 * (length - 0.74)
        structure = Data(
            z=torch.tensor([1, 1]),
            pos=torch.tensor([[0.0, 0.0, 0.0], [length, 0.0, 0.0]]),
            energy=torch.tensor([-31.0 + 5.0 * (length - 0.74) ** 2], dtype=torch.float64),
            forces=torch.tensor([[force, 0.0, 0.0], [-force, 0.0, 0.0]]),
        )
        # What is held for its positions, whatever becomes of the `Data` around them.
        weakref.finalize(structure.pos, self._gone)
        self.made, self.alive = self.made + 1, self.alive + 1
        self.most = max(self.most, self.alive)
        return structure

    def _gone(self) -> None:
        self.alive -= 1


def stream(train_set: Sequence[Data], folder: Path, batch_size: int, **changes: object) -> TrainResult:
    """One pass over the structures."""
    targets = (ENERGY, FORCES)
    few = [wrap_dataset(MadeOnAccess(20), targets).structures for _ in range(2)]
    sets = Structures(wrap_dataset(train_set, targets).structures, *few, "hydrogen", targets, streamed=True)
    config = TrainConfig(model=TINY, epochs=1, batch_size=batch_size, validations=1, **changes)  # type: ignore[arg-type]
    return train(sets, config, out=folder, console=Console(quiet=True))


if __name__ == "__main__":
    stream(MadeOnAccess(int(sys.argv[1])), Path(sys.argv[2]), batch_size=250)  # type: ignore[arg-type]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # MiB
