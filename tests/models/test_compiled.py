"""`compile=True`: the same numbers, and one graph for graphs of all sizes."""

import copy
import pickle
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.models import EquiformerConfig

from .conftest import SANDWICH
from .test_engines import SETTINGS

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "c++", "clang++")), reason="torch.compile needs a C++ compiler"
)
SIZES = [9, 12, 17]


@pytest.fixture(autouse=True)
def forget_compiled_code():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def captured_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture graphs as the flag does, but run them operation by operation: seconds instead of minutes."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="eager", **options))


def model_of(**settings: object) -> Equiformer:
    torch.manual_seed(0)
    return Equiformer(EquiformerConfig(**{**SETTINGS, "num_layers": 1, **settings})).double()


def molecules(num_atoms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two molecules, with their elements and the molecule of each atom."""
    generator = torch.Generator().manual_seed(num_atoms)
    pos = 1.3 * torch.randn(num_atoms, 3, generator=generator, dtype=torch.float64)
    z = torch.randint(6, 9, (num_atoms,), generator=generator)
    return z, pos, torch.arange(num_atoms) * 2 // num_atoms


def energy_and_gradients(model: Equiformer, *graph: Tensor) -> list[Tensor]:
    energy = model(*graph)
    weights = list(model.parameters())
    return [energy, *torch.autograd.grad(energy.sin().sum(), weights, allow_unused=True, materialize_grads=True)]


def forces_and_gradients(potential: EnergyForces, *graph: Tensor) -> list[Tensor]:
    out = potential(*graph)
    loss = out["energy"].sin().sum() + out["forces"].square().sum()
    weights = list(potential.parameters())
    return [*out.values(), *torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)]


def assert_one_graph_serves_all_sizes(function, plain, compiled) -> None:
    for k, num_atoms in enumerate(SIZES):
        graph = molecules(num_atoms)
        expected = function(plain, *graph)
        with torch.compiler.set_stance("fail_on_recompile" if k else "default"):
            given = function(compiled, *graph)
        for a, b in zip(given, expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "settings",
    [{"message": "nonlinear"}, pytest.param({"message": "linear"}, marks=pytest.mark.slow), SANDWICH],
    ids=["nonlinear", "linear", "sandwich"],
)
def test_one_captured_graph_of_a_block_serves_all_sizes(settings: dict[str, Any], captured_only: None) -> None:
    plain, compiled = model_of(**settings), model_of(**settings)
    compiled.set_compile(True)
    assert_one_graph_serves_all_sizes(energy_and_gradients, plain, compiled)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "distance", "kv_heads": 1, "attend_self": True},
        {"attention": "dot", "gate_heads": True, "linear_attention_heads": 1},
    ],
    ids=str,
)
def test_one_captured_graph_with_options_of_attention_serves_all_sizes(
    options: dict[str, object], captured_only: None
) -> None:
    plain, compiled = model_of(**options), model_of(**options)
    compiled.set_compile(True)
    assert_one_graph_serves_all_sizes(energy_and_gradients, plain, compiled)


@pytest.mark.slow
def test_one_captured_graph_of_energy_and_forces_serves_all_sizes(captured_only: None) -> None:
    plain, compiled = EnergyForces(model_of()), EnergyForces(model_of())
    compiled.model.set_compile(True)
    for k, num_atoms in enumerate(SIZES):
        graph = molecules(num_atoms)
        expected = plain(*graph)
        with torch.no_grad(), torch.compiler.set_stance("fail_on_recompile" if k else "default"):
            given = compiled(*graph)
        for name in expected:
            assert torch.allclose(given[name], expected[name], rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_copies_and_pickles_leave_the_compiled_code_behind(captured_only: None) -> None:
    potential = EnergyForces(model_of())
    potential.model.set_compile(True)
    graph = molecules(9)
    with torch.no_grad():
        expected = potential(*graph)["energy"]
        for other in (copy.deepcopy(potential), pickle.loads(pickle.dumps(potential))):
            assert other.model.compile_blocks
            assert torch.allclose(other(*graph)["energy"], expected, rtol=0, atol=1e-12)


def test_positions_with_gradients_and_further_outputs_run_as_they_are() -> None:
    model = model_of()
    model.set_compile(True)
    z, pos, batch = molecules(9)
    energy = model(z, pos.requires_grad_(), batch)
    (slope,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), pos)[0].isfinite().all()
    with_features = EnergyForces(model)(z, pos.detach(), batch, return_features=True)
    assert torch.allclose(with_features["forces"], -slope, rtol=1e-9, atol=1e-11)


@needs_compiler
@pytest.mark.slow
def test_compiled_energies_and_gradients_are_those_of_eager_code_at_all_sizes() -> None:
    plain, compiled = model_of(), model_of()
    compiled.set_compile(True)
    assert_one_graph_serves_all_sizes(energy_and_gradients, plain, compiled)


@needs_compiler
@pytest.mark.slow
def test_one_compiled_step_gives_energy_forces_and_the_gradient_of_their_loss_at_all_sizes() -> None:
    plain, compiled = EnergyForces(model_of()), EnergyForces(model_of())
    compiled.model.set_compile(True)
    assert_one_graph_serves_all_sizes(forces_and_gradients, plain, compiled)
