"""A data set that needs no file and a network that needs no time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from pyg_equiformer.training import Structures, TrainConfig

#: Replaces sizes of the preset "small".
TINY = {
    "irreps": "8x0e+4x1e",
    "irreps_sh": "1x0e+1x1e",
    "irreps_head": "4x0e+2x1e",
    "irreps_ffn": "8x0e+4x1e",
    "irreps_feature": "8x0e",
    "num_layers": 1,
    "heads": 2,
    "num_basis": 8,
    "radial_hidden": (8,),
}


def water(seed: int) -> Data:
    """A distorted water molecule in the field of three springs, with its exact energy and forces."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]], dtype=torch.float64)
    pos = (pos + 0.1 * torch.randn(3, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    lengths = torch.pdist(pos)
    energy = -2000.0 + 10.0 * (lengths - torch.tensor([0.96, 0.96, 1.52])).square().sum()
    (gradient,) = torch.autograd.grad(energy, pos)
    return Data(
        z=torch.tensor([8, 1, 1]),
        pos=pos.detach().float(),
        energy=energy.detach().reshape(1),
        forces=-gradient.float(),
    )


@pytest.fixture(scope="session")
def structures() -> Structures:
    return Structures([water(i) for i in range(20)], test=[water(i) for i in range(100, 106)], name="water")


@pytest.fixture
def tiny_config() -> Callable[..., TrainConfig]:
    def make(**changes: object) -> TrainConfig:
        return TrainConfig(**{"model": TINY, "epochs": 2, "batch_size": 7, "validations": 2, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
