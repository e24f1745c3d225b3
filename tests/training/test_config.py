import dataclasses

import pytest
import yaml

from pyg_equiformer.training.config import TrainConfig


def test_yaml_round_trip(tmp_path):
    config = TrainConfig(seed=3, epochs=None, max_time=12.5, model={"num_layers": 2, "radial_hidden": (8,)})
    config.write(tmp_path / "config.yaml")
    assert TrainConfig.from_dict(yaml.safe_load((tmp_path / "config.yaml").read_text())) == config


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]


def test_an_unknown_setting_names_the_nearest_known_one():
    with pytest.raises(ValueError, match="'learning_rates'; did you mean 'learning_rate'"):
        TrainConfig.from_dict({"learning_rates": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: expected an integer >= 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected an integer >= 1, got 1.5"),
        ({"seed": -1}, "seed: expected an integer from 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number > 0"),
        ({"ema_decay": 1.0}, "ema_decay: expected a number from 0 to below 1"),
        ({"final_rate": 2.0}, "final_rate: expected a number from 0 to 1"),
        ({"max_time": 0.0}, "max_time: expected seconds > 0 or None"),
        ({"force_loss": "l2"}, "force_loss: expected one of"),
        ({"epochs": None}, "epochs and max_time are both None"),
        ({"energy_weight": 0.0, "forces_weight": 0.0}, "both 0"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
