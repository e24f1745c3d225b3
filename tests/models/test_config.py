"""Configurations and presets."""

import dataclasses
import json

import pytest

from pyg_equiformer import Equiformer, EquiformerConfig
from pyg_equiformer.models import PRESETS, preset_config


def test_a_config_survives_json():
    config = preset_config("qm9_e3", radial_hidden=(32,), elements=(1, 6))
    assert EquiformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EquiformerConfig().heads = 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layer": 3}, "no setting 'num_layer'; did you mean num_layers"),
        ({"norm": "batch"}, "norm must be one of"),
        ({"norm_position": "post"}, r"norm_position must be one of \('pre', 'sandwich'\), got 'post'"),
        ({"norm_position": "sandwich", "norm": "none"}, "norm_position='sandwich' needs a norm"),
        ({"ffn_activation": "relu"}, r"ffn_activation must be one of \('gate', 'norm'\), got 'relu'"),
        ({"ffn_norms": "yes"}, "ffn_norms must be true or false, got 'yes'"),
        ({"basis": "fourier"}, "basis must be one of"),
        ({"attention": "softmax"}, "attention must be one of"),
        ({"output": "energy"}, "output must be one of"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"cutoff": -1.0}, "cutoff must be positive"),
        ({"cutoff": float("nan")}, "cutoff must be positive"),
        ({"irreps": "16x"}, "irreps must be irreps such as"),
        ({"irreps": "16x1e"}, "irreps needs 0e channels"),
        ({"irreps_sh": "2x1e"}, "irreps_sh must hold each irrep once"),
        ({"irreps_feature": "8x1e"}, "irreps_feature needs 0e"),
        ({"output": "node_vector"}, "irreps_feature needs 1e channels"),
        ({"elements": (1, 1)}, "elements must be distinct"),
        ({"edge_dim": -1}, "edge_dim must not be negative"),
        ({"output": "node_vector", "irreps_feature": "8x0e+4x1e", "head": "attention"}, "gives scalars"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EquiformerConfig.from_dict(settings)


def test_an_unknown_preset_names_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean md17_l3"):
        Equiformer.from_preset("md17l3")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_and_can_be_changed(name):
    model = Equiformer.from_preset(name, num_layers=1)
    assert model.config.num_layers == 1
    assert "1 blocks" in repr(model)


def test_published_presets_have_the_published_number_of_weights():
    """Counted from the published constructors' tensors (masks and 3j symbols aside)."""
    from pyg_equiformer import to_official_state_dict

    for name in ("qm9", "md17"):
        model = Equiformer.from_preset(name)
        official = to_official_state_dict(model, fixed=False)
        own = sum(p.numel() for p in model.state_dict().values())
        assert sum(v.numel() for v in official.values()) == own


@pytest.mark.parametrize("name", ["small", "qm9", "qm9_e3"])
def test_vector_outputs_keep_vectors_in_the_last_block(name):
    config = preset_config(name, output="node_vector")
    assert config.vector in config.irreps_feature
    assert config.irreps_feature.count("x0e") == 1
