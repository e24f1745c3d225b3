"""Precision is a choice: energies and forces stay near those of float64, each kind with its own tolerance."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.models import EquiformerConfig
from pyg_equiformer.testing import random_rotation

from .test_engines import SETTINGS
from .test_mirrored_edges import POS, Z

#: Largest error of energies and forces, against their largest value.
TOLERANCE = {"float64": 1e-13, "float32": 3e-5, "tf32": 1e-2 if torch.cuda.is_available() else 3e-5, "bf16": 6e-2}
DTYPE = {"float64": torch.float64}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def setting_of_the_process():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def model_of(precision: str | None) -> Equiformer:
    torch.manual_seed(0)
    return Equiformer(EquiformerConfig(**SETTINGS), precision=precision).to(DEVICE)


def outputs(model: Equiformer, pos: Tensor = POS) -> list[Tensor]:
    weight = next(model.parameters())
    out = EnergyForces(model.eval())(Z.to(DEVICE), pos.to(DEVICE, weight.dtype))
    assert out["energy"].dtype == out["forces"].dtype == weight.dtype
    return [v.detach().cpu().double() for v in (out["energy"], out["forces"])]


@pytest.mark.parametrize("precision", TOLERANCE)
def test_energies_and_forces_are_those_of_float64_within_the_tolerance(precision: str) -> None:
    model = model_of(precision)
    exact = model_of("float64")
    exact.load_state_dict(model.state_dict())
    for given, expected in zip(outputs(model), outputs(exact), strict=True):
        assert (given - expected).abs().max() <= TOLERANCE[precision] * expected.abs().max()


@pytest.mark.parametrize("precision", TOLERANCE)
def test_energies_stay_and_forces_turn_with_the_molecule(precision: str) -> None:
    model = model_of(precision)
    rotation = random_rotation(torch.Generator().manual_seed(1))
    energy, forces = outputs(model)
    turned_energy, turned_forces = outputs(model, POS @ rotation.t())
    assert (energy - turned_energy).abs().max() <= 2 * TOLERANCE[precision] * energy.abs().max()
    assert (forces @ rotation.t() - turned_forces).abs().max() <= 2 * TOLERANCE[precision] * forces.abs().max()


def test_bf16_products_are_coarser_than_float32_and_gradients_stay_float32() -> None:
    exact, coarse = outputs(model_of("float64")), outputs(model_of("bf16"))
    assert (exact[1] - coarse[1]).abs().max() > 1e-4 * exact[1].abs().max()
    model = model_of("bf16")
    EnergyForces(model)(Z.to(DEVICE), POS.to(DEVICE).float())["forces"].square().sum().backward()
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def test_tf32_is_a_setting_of_the_process_and_float32_takes_it_back() -> None:
    outputs(model_of("tf32"))
    assert torch.get_float32_matmul_precision() == "high"
    outputs(model_of("float32"))
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("high")
    outputs(model_of(None))
    assert torch.get_float32_matmul_precision() == "high"


def test_precision_is_changed_later_and_wrong_names_are_told() -> None:
    model = model_of(None)
    model.set_precision("float64")
    assert next(model.parameters()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"precision must be one of .*'bf16'\) or None, got 'fp8'"):
        model.set_precision("fp8")
