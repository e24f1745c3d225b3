import importlib.util
import sys

import pytest
import torch

from pyg_equiformer.bench.peers import PEERS, Unavailable, build_peer, check_peers, missing
from pyg_equiformer.bench.systems import System, make_system
from pyg_equiformer.models import preset_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def system() -> System:
    return make_system(2, 6, 1.5, (1, 6, 8), cutoff=5.0)


def moved(s: System, pos: torch.Tensor) -> System:
    return System(s.z, pos, s.batch, s.edge_index, s.energy, s.forces)


def test_the_reference_is_the_same_network_where_it_can_be(system):
    config = preset_config("qm9", num_layers=1)
    ours, reference = (build_peer(name, config, system, CPU) for name in ("pyg_equiformer", "e3nn"))
    assert ours.weights == reference.weights
    assert reference.differences == ()


def test_the_reference_says_in_what_it_is_another_network(system):
    told = " ".join(build_peer("e3nn", preset_config("small", num_layers=1), system, CPU).differences)
    assert "envelope" in told
    assert "layer norms" in told
    assert "atomic numbers" in told


def test_the_reference_cannot_have_every_network(system):
    with pytest.raises(Unavailable, match="reversible"):
        build_peer("e3nn", preset_config("qm9", num_layers=3, reversible=True), system, CPU)


@pytest.mark.parametrize("name", ["pyg_equiformer", "e3nn"])
def test_forces_are_minus_the_gradient_of_the_energy(name, system):
    peer = build_peer(name, preset_config("small", num_layers=1), system, CPU)
    peer.module.eval().double()
    double = moved(system, system.pos.double())
    energy, forces = peer.predict(double, True)
    assert energy.shape == (2,)
    along = torch.randn(forces.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        plus, minus = (peer.predict(moved(double, double.pos + s * along), False)[0].sum() for s in (step, -step))
    assert float((minus - plus) / (2 * step)) == pytest.approx(float((forces.detach() * along).sum()), rel=1e-5)
    with torch.no_grad():
        again = peer.predict(double, True)
    assert not again[0].requires_grad
    assert torch.allclose(again[1], forces)


def test_the_dense_package_gives_invariant_energies_and_says_in_what_it_differs(system):
    pytest.importorskip("equiformer_pytorch")
    config = preset_config("small", num_layers=1)
    peer = build_peer("equiformer-pytorch", config, system, CPU)
    peer.module.eval()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    rotation *= torch.linalg.det(rotation).sign()
    with torch.no_grad():
        energy, _ = peer.predict(system, False)
        rotated, _ = peer.predict(moved(system, system.pos @ rotation.T), False)
    assert energy.shape == (2,)
    assert torch.allclose(energy, rotated, atol=1e-4)
    assert any("no cutoff" in text for text in peer.differences)


def test_the_dense_package_cannot_have_odd_irreps(system):
    pytest.importorskip("equiformer_pytorch")
    with pytest.raises(Unavailable, match="one even type"):
        build_peer("equiformer-pytorch", preset_config("qm9_e3", num_layers=1), system, CPU)


def test_peers_are_checked_and_named_once():
    assert check_peers(["e3nn", "pyg_equiformer", "e3nn"]) == ["e3nn", "pyg_equiformer"]
    with pytest.raises(ValueError, match="there is no peer 'e3n', expected some of pyg_equiformer, e3nn, equi"):
        check_peers(["e3n"])


@pytest.mark.parametrize("name", [name for name, module in PEERS.items() if module is not None])
def test_a_peer_that_is_not_installed_is_told_as_such(name, system, monkeypatch):
    monkeypatch.setitem(sys.modules, PEERS[name], None)
    assert importlib.util.find_spec(PEERS[name]) is None
    with pytest.raises(Unavailable, match=f"{PEERS[name]} is not installed"):
        build_peer(name, preset_config("small", num_layers=1), system, CPU)


def test_what_comes_with_the_package_is_never_missing():
    assert missing("e3nn") is None
    assert missing("pyg_equiformer") is None
