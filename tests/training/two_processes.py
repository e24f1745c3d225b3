"""A run whose gradients are recorded, on one device or, started by torchrun, on two.

`torchrun --nproc_per_node 2 -m tests.training.two_processes FOLDER`
"""

import sys
from pathlib import Path

import torch
from rich.console import Console
from torch_geometric.data import Data

from pyg_equiformer.training import Structures, TrainConfig, train
from pyg_equiformer.training.engine import Callback

from .conftest import TINY, water


def clusters() -> Structures:
    """One to four waters each, so that the processes have different numbers of atoms; every fifth without forces."""
    structures = []
    for i in range(26):
        parts = [water(10 * i + k) for k in range(1 + i % 4)]
        forces = torch.cat([p.forces for p in parts])
        if i % 5 == 0:
            forces = torch.full_like(forces, torch.nan)
        structures.append(
            Data(
                z=torch.cat([p.z for p in parts]),
                pos=torch.cat([p.pos + torch.tensor([3.0 * k, 0.0, 0.0]) for k, p in enumerate(parts)]).double(),
                energy=sum(p.energy for p in parts),
                forces=forces.double(),
            )
        )
    return Structures(structures[:20], valid=structures[20:23], test=structures[23:], name="clusters")


class RecordGradients(Callback):
    """Keep the gradients that the optimizer sees."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append({n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None})


def record(folder: Path, batch_size: int, **changes) -> list[dict[str, torch.Tensor]]:
    gradients = RecordGradients()
    config = TrainConfig(
        model=TINY,
        read={"missing_labels": "mask"},
        epochs=2,
        batch_size=batch_size,
        precision="float64",
        validations=2,
        **changes,
    )
    train(clusters(), config, out=folder, console=Console(quiet=True), callbacks=[gradients])
    return gradients.steps


if __name__ == "__main__":
    steps = record(Path(sys.argv[1]) / "run", batch_size=2)
    if torch.distributed.get_rank() == 0:
        torch.save(steps, Path(sys.argv[1]) / "gradients.pt")
