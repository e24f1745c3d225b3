import pytest
import yaml

from pyg_equiformer import Equiformer
from pyg_equiformer.data.structure_sets import ENERGY, FORCES
from pyg_equiformer.training.build import network_config
from pyg_equiformer.training.config import TrainConfig
from pyg_equiformer.training.recipes import (
    RECIPES,
    default_recipe,
    load_recipe,
    merge,
    parse_assignments,
    recipe_names,
    resolve,
)

MD17_MOLECULES = [
    "aspirin",
    "benzene",
    "ethanol",
    "malonaldehyde",
    "naphthalene",
    "salicylic_acid",
    "toluene",
    "uracil",
]


def network(recipe, data=None):
    return network_config(resolve(data, preset=recipe), (ENERGY, FORCES), None)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_its_source_and_makes_settings_and_a_network(name):
    text = (RECIPES / f"{name}.yaml").read_text()
    assert len(yaml.safe_load(text)["source"]) > 20
    assert "Copy this file" in text
    config = TrainConfig.from_dict(load_recipe(name))
    model = Equiformer(network_config(config, (ENERGY, FORCES), None))
    assert sum(p.numel() for p in model.parameters()) > 100_000


def test_every_variant_makes_settings():
    for name in recipe_names():
        for data in yaml.safe_load((RECIPES / f"{name}.yaml").read_text()).get("variants", {}):
            assert load_recipe(name, data) != load_recipe(name)
            TrainConfig.from_dict(load_recipe(name, data))


def test_small_is_the_default():
    assert TrainConfig.from_dict(load_recipe("small")) == TrainConfig()
    assert resolve(None) == TrainConfig()


@pytest.mark.parametrize("target", ["mu", "alpha", "homo", "lumo", "gap", "cv"])
def test_qm9_is_as_published(target):
    config = resolve(f"qm9:{target}")
    assert (config.epochs, config.batch_size, config.learning_rate, config.weight_decay) == (300, 128, 5e-4, 5e-3)
    assert config.warmup * config.epochs == pytest.approx(5, rel=1e-4)
    assert config.final_rate * config.learning_rate == pytest.approx(1e-6)
    assert (config.reference, config.scale) == ("mean", "spread")
    assert (config.ema_decay, config.select, config.beta2, config.gradient_clip) == (0.0, "best", 0.999, None)
    net = network("qm9", f"qm9:{target}")
    assert (net.irreps, net.num_layers, net.cutoff) == ("128x0e+64x1e+32x2e", 6, 5.0)
    assert (net.irreps_head, net.heads, net.irreps_feature) == ("32x0e+16x1e+8x2e", 4, "512x0e")
    assert net.irreps_ffn == "384x0e+192x1e+96x2e"
    assert (net.basis, net.num_basis, net.attn_dropout) == ("gaussian", 128, 0.2)
    assert net.avg_num_nodes == pytest.approx(18.03065905448718)
    assert net.avg_degree == pytest.approx(15.57930850982666)


@pytest.mark.parametrize(("target", "dropout"), [("r2", 0.1), ("zpve", 0.2)])
def test_extent_and_zero_point_energy_have_bessel_functions(target, dropout):
    config, net = resolve(f"qm9:{target}"), network("qm9", f"qm9:{target}")
    assert (net.basis, net.num_basis, net.attn_dropout) == ("bessel", 8, dropout)
    assert (config.epochs, config.batch_size, config.reference, config.scale) == (300, 128, "mean", "spread")


@pytest.mark.parametrize("target", ["u0", "u", "h", "g"])
def test_energies_of_qm9_are_as_published(target):
    config, net = resolve(f"qm9:{target}"), network("qm9", f"qm9:{target}")
    assert (net.basis, net.num_basis, net.attn_dropout) == ("bessel", 8, 0.0)
    assert (config.epochs, config.batch_size * config.accumulate) == (600, 64)
    assert (config.learning_rate, config.weight_decay) == (1.5e-4, 0.0)
    assert config.warmup * config.epochs == pytest.approx(5, rel=1e-4)
    assert config.final_rate * config.learning_rate == pytest.approx(1e-6, rel=1e-4)
    assert (config.reference, config.scale) == ("none", "none")


@pytest.mark.parametrize("molecule", MD17_MOLECULES)
def test_md17_is_as_published(molecule):
    config, net = resolve(f"md17:{molecule}"), network("md17", f"md17:{molecule}")
    assert (config.epochs, config.batch_size, config.weight_decay, config.valid_fraction) == (1500, 8, 1e-6, 50)
    assert config.learning_rate == (1e-4 if molecule == "benzene" else 5e-4)
    assert config.warmup * config.epochs == pytest.approx(10, rel=1e-4)
    assert config.final_rate * config.learning_rate == pytest.approx(1e-6)
    forces = {"malonaldehyde": 100, "naphthalene": 20, "uracil": 20}.get(molecule, 80)
    assert config.weight == {"energy": 1, "forces": forces}
    assert config.loss == {"energy": "l1", "forces": "norm"}
    assert (config.reference, config.scale, config.ema_decay) == ("mean", "spread", 0.0)
    assert (net.basis, net.num_basis, net.attn_dropout) == ("exp", 32, 0.0)
    assert net.irreps_sh == "1x0e+1x1e+1x2e"


@pytest.mark.parametrize("molecule", MD17_MOLECULES)
def test_md17_with_l_of_three_is_as_published(molecule):
    config, net = resolve(f"md17:{molecule}", preset="md17_l3"), network("md17_l3", f"md17:{molecule}")
    assert (config.epochs, config.batch_size, config.weight_decay) == (2000, 5, 1e-6)
    assert config.learning_rate == (1e-4 if molecule == "benzene" else 2e-4)
    assert config.warmup * config.epochs == pytest.approx(10)
    assert config.final_rate * config.learning_rate == pytest.approx(1e-6)
    assert config.weight["forces"] == (80 if molecule in ("benzene", "ethanol") else 100)
    assert net.irreps == "128x0e+64x1e+64x2e+32x3e"
    assert net.irreps_sh == "1x0e+1x1e+1x2e+1x3e"


def test_a_built_in_set_has_its_own_recipe_and_files_the_small_one():
    names = {d: default_recipe(d) for d in ("qm9:gap", "MD17:Aspirin", "rmd17:ethanol", "ccsd:benzene", "a.xyz", None)}
    assert list(names.values()) == ["qm9", "md17", "rmd17", "small", "small", "small"]
    # A file may have the name of a recipe.
    assert default_recipe("qm9") == "small"


def test_upper_and_lower_case_are_alike_in_the_names_of_data_sets():
    assert resolve("QM9:U0").epochs == 600


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match=r"there is no preset 'md17_l2', expected one of 3bpa, .*; did you mean md17"):
        load_recipe("md17_l2")


def test_settings_of_settings_are_merged_and_others_replaced():
    values = {"seed": 0, "weight": {"energy": 1}, "test": ["a"], "read": {"units": {"energy": "Ha"}, "targets": ["x"]}}
    changes = {"weight": {"forces": 5}, "test": ["b"], "read": {"units": {"length": "nm"}, "targets": ["y"]}}
    assert merge(values, changes) == {
        "seed": 0,
        "weight": {"energy": 1, "forces": 5},
        "test": ["b"],
        "read": {"units": {"energy": "Ha", "length": "nm"}, "targets": ["y"]},
    }
    assert values["weight"] == {"energy": 1}
    assert values["read"]["units"] == {"energy": "Ha"}


def test_assignments_are_yaml_with_dots():
    typed = [
        "learning_rate=1e-3",
        "epochs=null",
        "energy_per_atom=true",
        "weight.forces=50",
        "model.radial_hidden=[8, 8]",
        "targets=homo,lumo",
        "units.energy=Ha",
        "read.bad_frames=skip",
        "test=a.xyz,b.xyz",
        "precision=bf16",
    ]
    assert parse_assignments(typed) == {
        "learning_rate": 1e-3,
        "epochs": None,
        "energy_per_atom": True,
        "weight": {"forces": 50},
        "model": {"radial_hidden": [8, 8]},
        "read": {"targets": ["homo", "lumo"], "units": {"energy": "Ha"}, "bad_frames": "skip"},
        "test": ["a.xyz", "b.xyz"],
        "precision": "bf16",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size", "expected settings as name=value"),
        ("=3", "expected settings as name=value"),
        ("weight.=3", "expected settings as name=value"),
        ("batchsize=3", "there is no setting 'batchsize'; did you mean batch_size"),
        ("seed.x=3", r"there is no setting 'seed\.x'"),
        ("seed=[1", "seed: expected a value"),
    ],
)
def test_assignments_that_are_none_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_assignments([text])


def test_a_setting_cannot_be_a_value_and_hold_others():
    with pytest.raises(ValueError, match="units was given a value before"):
        parse_assignments(["units=Ha", "units.energy=eV"])


def test_the_file_goes_over_the_recipe_and_what_is_given_over_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("batch_size: 3\nseed: 7\nweight: {forces: 9}\n")
    config = resolve("rmd17:ethanol", preset="rmd17", config=tmp_path / "mine.yaml", settings={"seed": 8})
    assert (config.network, config.batch_size, config.seed) == ("md17", 3, 8)
    assert config.weight == {"energy": 1, "forces": 9}
    assert config.data == "rmd17:ethanol"
    # With a file and no recipe asked for, the file alone decides.
    alone = resolve("rmd17:ethanol", config=tmp_path / "mine.yaml")
    assert alone == TrainConfig(data="rmd17:ethanol", batch_size=3, seed=7, weight={"forces": 9})


def test_a_copy_of_a_recipe_applies_its_variants(tmp_path):
    copy = tmp_path / "copy.yaml"
    for name, data in (("qm9", "qm9:u0"), ("md17", "md17:uracil"), ("md17_l3", "md17:benzene"), ("small", "x.xyz")):
        copy.write_text((RECIPES / f"{name}.yaml").read_text())
        assert resolve(data, config=copy) == resolve(data, preset=name)


def test_the_settings_of_a_run_resolve_to_themselves(tmp_path):
    config = resolve("qm9:u0", settings={"seed": 4, "read": {"duplicates": "keep"}, "loggers": ["tensorboard"]})
    config.write(tmp_path / "config.yaml")
    assert resolve(None, config=tmp_path / "config.yaml") == config
    timed = resolve("mine.xyz", settings={"max_time": 60.0})
    timed.write(tmp_path / "timed.yaml")
    assert resolve(None, config=tmp_path / "timed.yaml") == timed


def test_a_time_that_is_given_ends_the_run_alone_unless_epochs_are_given_too():
    assert resolve(None, settings={"max_time": 60.0}).epochs is None
    assert resolve(None, settings={"max_time": 60.0, "epochs": 3}).epochs == 3


def test_wrong_files_and_settings_are_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        resolve(None, config=tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("learning_rat: 1\n")
    with pytest.raises(ValueError, match="'learning_rat'; did you mean 'learning_rate'"):
        resolve(None, config=tmp_path / "bad.yaml")
