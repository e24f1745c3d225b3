"""Who computes the tensor products is a matter of speed alone."""

import warnings
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.kernels import ENGINES, EngineWarning
from pyg_equiformer.models import EquiformerConfig

SETTINGS = {
    "irreps": "6x0e+4x1e+2x2e",
    "irreps_head": "3x0e+2x1e+1x2e",
    "irreps_sh": "1x0e+1x1e+1x2e",
    "irreps_feature": "8x0e",
    "heads": 2,
    "num_layers": 2,
    "num_basis": 8,
    "radial_hidden": (8,),
    "attn_dropout": 0.0,
}
NEEDS = {"cuequivariance": "cuequivariance_torch"}
#: Triton's kernels have tests of their own, in its interpreter.
HERE = ["torch", "reference", "aligned", "cuequivariance"]


def loss_and_gradients(model: Equiformer) -> list[Tensor]:
    """Energy, forces and the gradients of a loss of both."""
    z, pos = torch.tensor([8, 1, 1, 6, 7]), torch.linspace(-2, 2, 15, dtype=torch.float64).sin().view(5, 3) * 2
    out = EnergyForces(model.train())(z, pos)
    loss = out["energy"].square().sum() + out["forces"].square().sum()
    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return [out["energy"], out["forces"], *gradients]


def model_of(engine: str, message: str) -> Equiformer:
    torch.manual_seed(0)
    return Equiformer(EquiformerConfig(**SETTINGS, message=message), engine=engine).double()


@pytest.mark.parametrize("message", ["nonlinear", "linear"])
@pytest.mark.parametrize("engine", HERE[1:])
def test_energy_forces_and_gradients_of_the_loss_are_those_of_the_default_engine(engine: str, message: str) -> None:
    if engine in NEEDS and find_spec(NEEDS[engine]) is None:
        pytest.skip(f"{engine} is not installed")
    expected = loss_and_gradients(model_of("torch", message))
    with warnings.catch_warnings():
        warnings.simplefilter("error", EngineWarning)  # another engine in its place would not count
        given = loss_and_gradients(model_of(engine, message))
    for a, b in zip(given, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_saved_model_does_not_depend_on_the_engine() -> None:
    reference, default = model_of("reference", "nonlinear"), model_of("auto", "nonlinear")
    assert list(reference.state_dict()) == list(default.state_dict())
    reference.load_state_dict(default.state_dict())


def test_an_engine_that_cannot_serve_says_so_and_the_default_takes_over() -> None:
    if torch.cuda.is_available() and find_spec("openequivariance") is not None:
        pytest.skip("openequivariance can serve here")
    with pytest.warns(EngineWarning, match=r"'openequivariance' cannot serve .*; taking 'torch'"):
        given = loss_and_gradients(model_of("openequivariance", "nonlinear"))
    for a, b in zip(given, loss_and_gradients(model_of("torch", "nonlinear")), strict=True):
        assert torch.equal(a, b)


def test_the_engine_is_changed_later_and_wrong_names_are_told() -> None:
    model = model_of("auto", "nonlinear")
    model.set_engine("reference")
    assert {m.engine for m in model.modules() if hasattr(m, "engine")} == {"reference"}
    with pytest.raises(ValueError, match=f"engine must be one of {', '.join(ENGINES)}, got 'jax'"):
        model.set_engine("jax")
    with pytest.raises(ValueError, match="got 'jax'"):
        Equiformer(EquiformerConfig(**SETTINGS), engine="jax")
