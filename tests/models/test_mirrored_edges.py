"""Networks work out once for both directions what depends on the distance alone."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer import EnergyForces, Equiformer, radius_graph
from pyg_equiformer.models import EquiformerConfig

from .test_engines import SETTINGS

POS = torch.linspace(-2, 2, 24, dtype=torch.float64).sin().view(8, 3) * 3
Z = torch.tensor([8, 1, 1, 6, 7, 1, 1, 6])


def model_of(**settings: object) -> Equiformer:
    torch.manual_seed(0)
    return Equiformer(EquiformerConfig(**{**SETTINGS, **settings})).double().eval()


def rows_of_radial_networks(model: Equiformer, edge_index: Tensor) -> set[int]:
    rows: list[int] = []
    for block in model.blocks:
        block.attn.radial.hidden.register_forward_hook(lambda module, inputs, out: rows.append(len(out)))
    model(Z, POS, edge_index=edge_index)
    return set(rows)


def test_radial_networks_see_each_pair_of_atoms_once() -> None:
    edge_index = radius_graph(POS, 5.0)
    assert rows_of_radial_networks(model_of(), edge_index) == {edge_index.shape[1] // 2}
    assert rows_of_radial_networks(model_of(), edge_index[:, 1:]) == {edge_index.shape[1] - 1}


@pytest.mark.parametrize(
    "settings", [{}, {"message": "linear"}, {"attention": "dot"}, {"envelope": "polynomial"}], ids=str
)
def test_energy_forces_and_gradients_are_those_of_directed_edges(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for mirrored in (True, False):
        if not mirrored:
            monkeypatch.setattr("pyg_equiformer.models.prepare.mirror_order", lambda *_: None)
        model = model_of(**settings)
        out = EnergyForces(model)(Z, POS)
        energy = model(Z, POS)
        gradients = torch.autograd.grad(
            energy.sum(), list(model.parameters()), allow_unused=True, materialize_grads=True
        )
        results.append([out["energy"], out["forces"], energy, *gradients])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
