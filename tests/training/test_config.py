import dataclasses

import pytest
import yaml

from pyg_equiformer.training.config import TrainConfig


def test_yaml_round_trip_keeps_every_setting(tmp_path):
    config = TrainConfig(
        data="mine.xyz",
        test=("a.xyz", "b.xyz"),
        read={"targets": ("energy", "forces"), "units": {"energy": "Ha"}},
        seed=3,
        epochs=None,
        max_time=12.5,
        model={"num_layers": 2, "radial_hidden": (8,)},
        weight={"forces": 10.0},
        loss={"energy": "mse"},
        loggers=("tensorboard",),
        devices="auto",
    )
    config.write(tmp_path / "config.yaml")
    assert TrainConfig.from_dict(yaml.safe_load((tmp_path / "config.yaml").read_text())) == config
    assert TrainConfig.load(tmp_path / "config.yaml") == config


def test_one_text_stands_for_a_list_of_one():
    assert TrainConfig(test="test.xyz", loggers="wandb") == TrainConfig(test=("test.xyz",), loggers=("wandb",))


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]


def test_an_unknown_setting_names_the_nearest_known_one():
    with pytest.raises(ValueError, match="'learning_rates'; did you mean 'learning_rate'"):
        TrainConfig.from_dict({"learning_rates": 1})


def test_a_file_that_holds_no_settings_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        TrainConfig.load(tmp_path / "none.yaml")
    for text in ("- 1\n", "a: [1\n", ""):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.yaml: expected"):
            TrainConfig.load(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: expected an integer >= 1 or null, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected an integer >= 1, got 1.5"),
        ({"batch_size": True}, "batch_size: expected an integer >= 1, got True"),
        ({"batch_size": None}, "batch_size: expected an integer >= 1, got None"),
        ({"accumulate": 0}, "accumulate: expected an integer >= 1"),
        ({"max_edges": 0}, "max_edges: expected an integer >= 1 or null"),
        ({"train_size": 0}, "train_size: expected an integer >= 1 or null"),
        ({"checkpoint_every": 0}, "checkpoint_every: expected an integer >= 1 or null"),
        ({"workers": -1}, "workers: expected an integer >= 0"),
        ({"devices": "all"}, "devices: expected an integer >= 1 or 'auto', got 'all'"),
        ({"seed": -1}, "seed: expected an integer from 0"),
        ({"split_seed": "a"}, "split_seed: expected an integer from 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number > 0"),
        ({"weight_decay": -1e-3}, "weight_decay: expected a number >= 0"),
        ({"ema_decay": 1.0}, "ema_decay: expected a number from 0 to below 1"),
        ({"final_rate": 2.0}, "final_rate: expected a number from 0 to 1"),
        ({"valid_fraction": 1.5}, "valid_fraction: expected a part from 0 to below 1, or a whole number"),
        ({"gradient_clip": 0}, "gradient_clip: expected a number > 0 or null"),
        ({"max_time": 0.0}, "max_time: expected seconds > 0 or None"),
        ({"epochs": None}, "epochs and max_time are both None"),
        ({"loss": {"forces": "l2"}}, r"loss\.forces: expected one of \('l1', 'mse', 'norm'\), got 'l2'"),
        ({"weight": {"forces": -1}}, r"weight\.forces: expected a number >= 0, got -1"),
        ({"weight": 3}, "weight: expected a number >= 0 for each target"),
        ({"model": ["num_layers"]}, "model: expected names and values"),
        ({"energy_per_atom": "yes"}, "energy_per_atom: expected true or false"),
        ({"reference": "atoms"}, "reference: expected one of"),
        ({"scale": "std"}, "scale: expected one of"),
        ({"averages": "qm9"}, "averages: expected one of"),
        ({"precision": "fp16"}, "precision: expected one of"),
        ({"denoising": "noise"}, "denoising: expected one of"),
        ({"select": "first"}, "select: expected one of"),
        ({"loggers": ["mlflow"]}, "loggers: expected some of"),
        ({"noise_std": 0.0}, "noise_std: expected a number > 0"),
        ({"noise_probability": 1.1}, "noise_probability: expected a number from 0 to 1"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)


def test_nan_is_not_a_number_that_a_setting_may_have():
    for name in ("learning_rate", "weight_decay", "noise_std", "max_time"):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            TrainConfig(**{name: float("nan")})
        with pytest.raises(ValueError, match=f"{name}: expected"):
            TrainConfig(**{name: float("inf")})
    with pytest.raises(ValueError, match=r"weight\.energy: expected"):
        TrainConfig(weight={"energy": float("inf")})
