import pytest
import torch

from pyg_equiformer.bench.peers import Unavailable, build_peer
from pyg_equiformer.bench.systems import make_system
from pyg_equiformer.bench.variants import Variant, accepted, check_variant, variants_of
from pyg_equiformer.models import preset_config


def needs(name):
    return pytest.mark.skipif(name not in accepted(), reason=f"Equiformer has no argument {name}")


def test_choices_are_combined_and_the_default_comes_first():
    variants = variants_of(["torch"], True, [], ["none", "block"])
    assert variants[0] == Variant()
    assert [v.arguments() for v in variants[1:]] == [
        {"engine": "torch", "compile": True, "checkpoint": "none"},
        {"engine": "torch", "compile": True, "checkpoint": "block"},
    ]
    assert variants[1].label == "pyg_equiformer (engine=torch, compile, checkpoint=none)"
    assert variants_of() == (Variant(),)


def test_only_what_differs_from_the_default_is_passed_on():
    assert Variant().arguments() == {}
    assert Variant(checkpoint="none").arguments() == {"checkpoint": "none"}


@pytest.mark.parametrize("variant", [Variant(engine="triton"), Variant(compile=True), Variant(precision="bf16")])
def test_a_choice_that_this_network_does_not_have_is_an_error_that_names_it(variant, monkeypatch):
    monkeypatch.setattr("pyg_equiformer.bench.variants.accepted", lambda: ["checkpoint"])
    (name,) = variant.arguments()
    with pytest.raises(ValueError, match=rf"--{name}: this Equiformer has no argument {name}, expected some of"):
        check_variant(variant)


@pytest.mark.parametrize(
    "wrong", [Variant(checkpoint="blok"), pytest.param(Variant(engine="tritn"), marks=needs("engine"))]
)
def test_a_value_that_does_not_exist_is_an_error(wrong):
    with pytest.raises(ValueError, match="must be one of"):
        check_variant(wrong)


def test_a_variant_is_what_runs():
    system = make_system(1, 4, 1.5, (1, 8), cutoff=5.0)
    config = preset_config("small", num_layers=1)
    peer = build_peer("pyg_equiformer", config, system, torch.device("cpu"), Variant(checkpoint="block"))
    assert peer.module.checkpoint == "block"
    assert peer.label == "pyg_equiformer (checkpoint=block)"


@needs("engine")
def test_an_engine_that_refuses_takes_no_part(monkeypatch):
    from pyg_equiformer.kernels import engines

    module = engines.engine_module("torch")
    monkeypatch.setattr(module, "refusal", lambda *a: "it is tired")
    monkeypatch.setattr(engines, "engine_module", lambda name: module)
    system = make_system(1, 4, 1.5, (1, 8), cutoff=5.0)
    with pytest.raises(Unavailable, match="it is tired"):
        build_peer(
            "pyg_equiformer",
            preset_config("small", num_layers=1),
            system,
            torch.device("cpu"),
            Variant(engine="triton"),
        )


@needs("engine")
def test_an_engine_reaches_the_network():
    system = make_system(1, 4, 1.5, (1, 8), cutoff=5.0)
    variant = Variant(engine="aligned")
    check_variant(variant)
    peer = build_peer("pyg_equiformer", preset_config("small", num_layers=1), system, torch.device("cpu"), variant)
    assert peer.module.engine == "aligned"
