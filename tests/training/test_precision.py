import numpy as np
import pytest
import torch
from rich.console import Console

from pyg_equiformer import load_model
from pyg_equiformer.training import Structures, TrainConfig, load_run, resume
from pyg_equiformer.training.engine import Callback
from pyg_equiformer.training.predictions import predict

from .conftest import TINY, water
from .runs import numbers, quiet_train, same, state


class Seen(Callback):
    """What a step works with."""

    def __init__(self):
        self.matmul = set()
        self.autocast = set()

    def on_before_zero_grad(self, *_):
        self.matmul.add(torch.get_float32_matmul_precision())

    def on_train_start(self, trainer, task):
        forward = task.forward

        def watched(batch, **options):
            self.autocast.add(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
            return forward(batch, **options)

        task.forward = watched


def double_water(seed):
    structure = water(seed)
    # Positions and forces that float32 cannot hold.
    structure.pos = structure.pos.double() * (1 + 1e-8)
    structure.forces = structure.forces.double() * (1 + 1e-8)
    return structure


def double_sets():
    return Structures([double_water(i) for i in range(12)], test=[double_water(20)], name="water")


@pytest.mark.parametrize(
    ("precision", "matmul", "autocast"),
    [("float32", "highest", False), ("tf32", "high", False), ("bf16", "highest", torch.bfloat16)],
)
def test_products_are_as_precise_as_asked_for_and_weights_are_float32(
    structures, tiny_config, precision, matmul, autocast
):
    before, seen = torch.get_float32_matmul_precision(), Seen()
    result = quiet_train(structures, tiny_config(precision=precision), callbacks=[seen])
    assert seen.matmul == {matmul}
    assert seen.autocast == {autocast}
    assert torch.get_float32_matmul_precision() == before
    assert {v.dtype for v in state(result.folder).values() if v.is_floating_point()} == {torch.float32}
    assert np.isfinite(numbers(result.metrics)).all()


def test_bf16_trains_to_the_errors_of_float32(structures, tiny_config):
    exact, rough = (
        quiet_train(structures, tiny_config(epochs=10, precision=p)).metrics["test"]["forces_mae"]["value"]
        for p in ("float32", "bf16")
    )
    assert rough == pytest.approx(exact, rel=0.1)


def test_float64_is_float64_from_the_data_to_the_checkpoint(tmp_path):
    seen = []

    class Types(Callback):
        def on_train_batch_start(self, trainer, task, batch, batch_idx):
            seen.append({batch.pos.dtype, batch.forces.dtype, batch.energy.dtype})
            seen.append({p.dtype for p in task.parameters()})

        def on_before_optimizer_step(self, trainer, task, optimizer):
            seen.append({p.grad.dtype for p in task.parameters() if p.grad is not None})

    config = TrainConfig(model=TINY, precision="float64", epochs=2, batch_size=4, checkpoint_every=2)
    result = quiet_train(double_sets(), config, out=tmp_path / "run", callbacks=[Types()])
    assert all(types == {torch.float64} for types in seen)
    model = load_model(tmp_path / "run" / "model.pt")
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert torch.get_default_dtype() == torch.float32
    # Positions keep all their digits on the way to the model.
    exact = double_water(20)
    out = model(exact.z, exact.pos)
    found = predict(model, [exact], load_run(result.folder).targets)
    np.testing.assert_allclose(found.predicted["forces"], out["forces"].detach().numpy(), rtol=1e-12, atol=1e-12)
    rounded = model(exact.z, exact.pos.float().double())
    assert float((rounded["forces"] - out["forces"]).detach().abs().max()) > 1e-10
    torch.testing.assert_close(
        result.metrics["test"]["forces_mae"]["value"],
        1000 * float((out["forces"] - exact.forces).detach().abs().mean()),
        rtol=1e-10,
        atol=0,
    )
    # A run that goes on goes on in float64.
    before = state(tmp_path / "run")
    resume(tmp_path / "run", structures=double_sets(), console=Console(quiet=True))
    assert same(before, state(tmp_path / "run"))


def test_float64_with_denoising_has_a_denoiser_in_float64(tmp_path):
    seen = set()

    class Types(Callback):
        def on_before_optimizer_step(self, trainer, task, optimizer):
            seen.update(p.grad.dtype for p in task.denoiser.parameters() if p.grad is not None)

    config = TrainConfig(
        model=TINY, precision="float64", epochs=1, batch_size=4, denoising="dens", noise_probability=1.0
    )
    quiet_train(double_sets(), config, callbacks=[Types()])
    assert seen == {torch.float64}
