"""Whole networks with each option of attention: symmetry, forces, training, saving, compiling; and who refuses them."""

from typing import Any

import pytest
import torch

from pyg_equiformer import EnergyForces, Equiformer, load_model, save_model, to_official_state_dict
from pyg_equiformer.models import EquiformerConfig
from pyg_equiformer.reference import ReferenceEquiformer
from pyg_equiformer.testing import assert_forces_match_finite_differences, random_rotation

from .test_engines import SETTINGS

OPTIONS: list[dict[str, Any]] = [
    {"attention": "distance"},
    {"attention": "distance", "scalar_score": "dot", "message": "linear"},
    {"kv_heads": 1},
    {"attention": "dot", "kv_heads": 1, "attend_self": True},
    {"attend_self": True, "message": "linear"},
    {"gate_heads": True},
    {"linear_attention_heads": 2},
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def model_of(options: dict[str, Any], **more: Any) -> Equiformer:
    torch.manual_seed(0)
    return Equiformer(EquiformerConfig(**{**SETTINGS, "num_layers": 1, **options, **more})).double()


def molecules() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    pos = 1.3 * torch.randn(9, 3, generator=generator, dtype=torch.float64)
    return torch.randint(6, 9, (9,), generator=generator), pos, torch.arange(9) * 2 // 9


@every_option
def test_energies_are_invariant_and_each_molecule_is_alone(options: dict[str, Any]) -> None:
    model = model_of(options).eval()
    z, pos, batch = molecules()
    energy = model(z, pos, batch)
    turned = pos @ random_rotation().to(pos).T + 3.0
    assert torch.allclose(model(z, turned, batch), energy, rtol=1e-10, atol=1e-12)
    alone = torch.cat([model(z[batch == b], pos[batch == b]) for b in (0, 1)])
    assert torch.allclose(alone, energy, rtol=1e-10, atol=1e-12)


@every_option
def test_forces_are_the_gradient_of_the_energy_and_train_every_weight(options: dict[str, Any]) -> None:
    potential = EnergyForces(model_of(options))
    assert_forces_match_finite_differences(potential.eval(), *molecules())
    out = potential.train()(*molecules())
    (out["energy"].square().sum() + out["forces"].square().sum()).backward()
    attention = potential.model.blocks[0].attn
    unused = [n for n, p in attention.named_parameters() if p.grad is None and not n.endswith(("1e", "2e"))]
    assert unused == []  # of the last block the network looks at scalars alone


@every_option
def test_training_fits_energies(options: dict[str, Any]) -> None:
    model = model_of(options)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    z, pos, batch = molecules()
    losses = []
    for _ in range(30):
        loss = (model(z, pos, batch).squeeze(1) - torch.tensor([0.5, -0.5], dtype=torch.float64)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.1 * losses[0]


@every_option
def test_a_saved_model_comes_back_with_its_options(options: dict[str, Any], tmp_path) -> None:
    model = model_of(options).eval()
    save_model(tmp_path / "m.pt", model)
    again = load_model(tmp_path / "m.pt")
    assert again.config == model.config
    assert torch.equal(again.double()(*molecules()), model(*molecules()))


@every_option
def test_reversible_blocks_take_the_option(options: dict[str, Any]) -> None:
    model = model_of(options, num_layers=2, reversible=True)
    loss = model(*molecules()).square().sum()
    assert torch.isfinite(torch.stack([g.norm() for g in torch.autograd.grad(loss, [model.embed.weight])])).all()


@every_option
def test_the_published_code_lacks_the_option_and_says_so(options: dict[str, Any]) -> None:
    model = model_of(options)
    with pytest.raises(ValueError, match="the published code"):
        to_official_state_dict(model)
    with pytest.raises(ValueError, match="the published code has"):
        ReferenceEquiformer.from_config(model.config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "euclid"}, "attention must be one of"),
        ({"scalar_score": "cosine"}, "scalar_score must be one of"),
        ({"kv_heads": 3}, "kv_heads must divide heads=4, got 3"),
        ({"attend_self": "yes"}, "attend_self must be true or false"),
        ({"linear_attention_heads": -1}, "linear_attention_heads must not be negative"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EquiformerConfig(**options)
