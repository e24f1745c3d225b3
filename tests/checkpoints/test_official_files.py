"""Published checkpoint files, physical units, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_equiformer import (
    EnergyForces,
    Equiformer,
    load_model,
    load_official,
    save_model,
    to_official_state_dict,
)
from pyg_equiformer.checkpoints import official_models
from pyg_equiformer.units import KCAL_PER_MOL

GA, DP = "GraphAttentionTransformer", "DotProductAttentionTransformer"
SMALL: dict[str, Any] = {
    "irreps_node_embedding": "6x0e+4x1e",
    "irreps_sh": "1x0e+1x1e",
    "irreps_head": "3x0e+2x1e",
    "num_heads": 2,
    "irreps_mlp_mid": "8x0e+4x1e",
    "irreps_feature": "10x0e",
    "num_layers": 1,
    "number_of_basis": 8,
    "fc_neurons": [8, 8],
}
MD17_NAME = "dot_product_attention_transformer_exp_l2_md17"
QM9_NAME = "graph_attention_transformer_l2"
ATOMS = torch.tensor([6, 8, 1, 1]), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def checkpoint(cls: str = GA, dtype: torch.dtype = torch.float64, **ctor: Any) -> dict[str, Any]:
    """Return a checkpoint dict with random weights."""
    ctor = {**SMALL, **ctor}
    network = Equiformer(official_models.official_config(cls, ctor)).to(dtype)
    return {"cls": cls, "ctor": ctor, "state_dict": to_official_state_dict(network)}


@pytest.fixture(scope="module")
def full() -> dict[str, dict[str, Tensor]]:
    """Weights of two published models in their full size, float32."""
    torch.manual_seed(0)
    out = {}
    for name in (MD17_NAME, QM9_NAME):
        cls, ctor = official_models.registered_model(name)
        basis = 32 if name == MD17_NAME else 128
        config = official_models.official_config(cls, {**ctor, "number_of_basis": basis})
        out[name] = to_official_state_dict(Equiformer(config))
    return out


@pytest.mark.parametrize("name", official_models._registered())
def test_each_registered_model_has_settings(name):
    cls, ctor = official_models.registered_model(name)
    config = official_models.official_config(cls, ctor)
    assert (config.attention == "dot") == name.startswith("dot")
    assert (len(config.elements) == 64) == name.endswith("md17")


@pytest.mark.parametrize("wrapping", ["bare", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_with_weights_alone_loads_by_the_name_of_its_model(tmp_path, full, wrapping, prefix):
    weights = {prefix + k: v for k, v in full[MD17_NAME].items()}
    torch.save(weights if wrapping == "bare" else {wrapping: weights, "epoch": 3}, tmp_path / "w.pth")
    model = load_official(tmp_path / "w.pth", model=MD17_NAME)
    assert isinstance(model, EnergyForces)
    assert model.config.num_basis == 32
    assert not model.training
    back = to_official_state_dict(model)
    assert all(torch.equal(back[k], v) for k, v in full[MD17_NAME].items())


def test_the_cutoff_of_a_file_with_weights_alone_can_be_given(tmp_path, full):
    torch.save(full[QM9_NAME], tmp_path / "w.pt")
    assert load_official(tmp_path / "w.pt", model=QM9_NAME).config.cutoff == 5.0
    assert load_official(str(tmp_path / "w.pt"), model=QM9_NAME, cutoff=4.0).config.cutoff == 4.0


def test_a_checkpoint_dict_in_a_file_needs_no_name(tmp_path):
    data = checkpoint()
    torch.save(data, tmp_path / "c.pt")
    z, pos = ATOMS[0], ATOMS[1].double()
    assert torch.equal(load_official(tmp_path / "c.pt")(z, pos), load_official(data)(z, pos))


def test_physical_energies_and_forces_are_in_ev(tmp_path, full):
    torch.save(full[MD17_NAME], tmp_path / "w.pt")
    raw = load_official(tmp_path / "w.pt", model=MD17_NAME)(*ATOMS)
    given = {"mean": -97000.0, "std": 5.9, "unit": "kcal/mol"}
    out = load_official(tmp_path / "w.pt", model=MD17_NAME, **given, physical=True)(*ATOMS)
    expected = (-97000.0 + 5.9 * raw["energy"].double()) * KCAL_PER_MOL
    assert torch.allclose(out["energy"], expected, rtol=1e-10)
    assert torch.allclose(out["forces"], 5.9 * KCAL_PER_MOL * raw["forces"], rtol=1e-4, atol=1e-6)
    without = load_official(tmp_path / "w.pt", model=MD17_NAME, **given)(*ATOMS)
    assert torch.equal(without["energy"], raw["energy"])


@pytest.mark.parametrize("scale", [None, 0.5])
def test_physical_targets_of_qm9_are_in_ev(scale):
    data = checkpoint(mean=2.0, std=3.0, scale=scale)
    z, pos = ATOMS[0], ATOMS[1].double()
    raw = load_official(data)(z, pos)
    assert torch.allclose(load_official(data, physical=True)(z, pos), 2 + 3 * raw)
    in_mev = load_official(data, physical=True, mean=5.0, unit="meV")
    assert torch.allclose(in_mev(z, pos), (5 + 3 * raw) * 1e-3)
    back = to_official_state_dict(in_mev)
    assert all(torch.equal(back[k], v) for k, v in data["state_dict"].items())


@pytest.mark.parametrize("cls", [GA, DP, GA + "MD17", DP + "MD17"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_of_the_weights_is_kept(cls, dtype):
    data = checkpoint(cls, dtype)
    model = load_official(data)
    assert {v.dtype for v in model.state_dict().values()} == {dtype}
    back = to_official_state_dict(model)
    assert {k: v.dtype for k, v in back.items()} == {k: v.dtype for k, v in data["state_dict"].items()}
    assert all(torch.equal(back[k], v) for k, v in data["state_dict"].items())


@pytest.mark.parametrize("cls", [GA, DP + "MD17"])
def test_save_load_save_of_a_converted_model_is_identical(tmp_path, cls):
    first, second = tmp_path / "m.pt", tmp_path / "again" / "m.pt"
    second.parent.mkdir()
    data = checkpoint(cls)
    save_model(first, load_official(data))
    again = load_model(first)
    save_model(second, again)
    assert first.read_bytes() == second.read_bytes()
    back = to_official_state_dict(again)
    assert all(torch.equal(back[k], v) for k, v in data["state_dict"].items())


def test_weights_without_the_fixed_tensors_are_enough():
    data = checkpoint()
    trained = {k: v for k, v in data["state_dict"].items() if "mask" not in k and "w3j" not in k and v.numel()}
    z, pos = ATOMS[0], ATOMS[1].double()
    assert torch.equal(load_official({**data, "state_dict": trained})(z, pos), load_official(data)(z, pos))


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        ("nets.graph_attention_transformer_oc20.GraphAttentionTransformerOC20", "OC20 models .* are not supported yet"),
        ("nets.equiformer_md17_dens.Equiformer_MD17_DeNS", "DeNS models .* are not supported yet"),
        ("SchNet", "unknown class 'SchNet' of the published code, expected GraphAttentionTransformer"),
    ],
)
def test_other_classes_are_refused(cls, words):
    with pytest.raises(ValueError, match=words):
        load_official({**checkpoint(), "cls": cls})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("oc20_graph_attention_transformer", "OC20 models"),
        ("equiformer_md17_dens_l2", "DeNS models"),
        ("schnet", "unknown published model 'schnet', expected one of graph_attention_transformer_l2"),
    ],
)
def test_other_names_are_refused(tmp_path, name, words):
    torch.save(checkpoint()["state_dict"], tmp_path / "w.pt")
    with pytest.raises(ValueError, match=words):
        load_official(tmp_path / "w.pt", model=name)


@pytest.mark.parametrize(
    ("ctor", "words"),
    [
        ({"heads": 4}, "has no constructor argument heads"),
        ({"irreps_node_attr": "2x0e"}, "irreps_node_attr must be 1x0e"),
        ({"norm_layer": "batch"}, "norm must be one of"),
        ({"basis_type": "cosine"}, "basis must be one of"),
        ({"irreps_head": "3x0q"}, "irreps_head must be irreps"),
    ],
)
def test_unknown_constructor_arguments_are_refused(ctor, words):
    data = checkpoint()
    with pytest.raises(ValueError, match=words):
        load_official({**data, "ctor": {**data["ctor"], **ctor}})


def test_weights_that_do_not_fit_are_refused():
    data, name = checkpoint(), "blocks.0.ga.proj.tp.weight"
    weights = data["state_dict"]
    with pytest.raises(ValueError, match=rf"1 missing \['{name}'\], 0 unexpected"):
        load_official({**data, "state_dict": {k: v for k, v in weights.items() if k != name}})
    with pytest.raises(ValueError, match=r"0 missing \[\], 1 unexpected \['more'\]"):
        load_official({**data, "state_dict": {**weights, "more": torch.ones(3)}})
    with pytest.raises(ValueError, match=rf"{name} must have shape \(\d+,\), got \(5,\)"):
        load_official({**data, "state_dict": {**weights, name: torch.ones(5)}})
    with pytest.raises(ValueError, match="do not fit the class and its arguments"):
        load_official({**data, "ctor": {**data["ctor"], "num_layers": 2}})
    with pytest.raises(ValueError, match="holds no weights"):
        load_official({**data, "state_dict": {}})


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    text = tmp_path / "x.pt"
    text.write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"x\.pt is not a checkpoint"):
        load_official(text)
    with pytest.raises(ValueError, match="there is no file"):
        load_official(tmp_path / "nothing.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="expected a checkpoint dict, got list"):
        load_official(tmp_path / "list.pt")
    with pytest.raises(ValueError, match="expected a dict with cls, ctor and state_dict"):
        load_official({"epoch": 3})


def test_weights_alone_need_the_name_of_a_model_they_belong_to(tmp_path):
    torch.save(checkpoint()["state_dict"], tmp_path / "w.pt")
    with pytest.raises(ValueError, match="needs model="):
        load_official(tmp_path / "w.pt")
    with pytest.raises(ValueError, match="do not fit the class and its arguments"):
        load_official(tmp_path / "w.pt", model=QM9_NAME)
    torch.save({"linear.weight": torch.ones(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="do not belong to a published model"):
        load_official(tmp_path / "other.pt", model=QM9_NAME)


def test_physical_outputs_need_mean_and_spread_and_a_known_unit():
    with pytest.raises(ValueError, match="physical=True needs mean and std"):
        load_official(checkpoint(), physical=True, mean=1.0)
    with pytest.raises(ValueError, match="unknown energy unit"):
        load_official(checkpoint(), physical=True, mean=1.0, std=1.0, unit="furlong")


def test_a_layer_has_no_physical_output():
    norm = {"affine_weight": torch.ones(6), "affine_bias": torch.zeros(4)}
    data = {"cls": "EquivariantLayerNormV2", "ctor": {"irreps": "4x0e+2x1e"}, "state_dict": norm}
    assert load_official(data)(torch.randn(3, 10)).shape == (3, 10)
    with pytest.raises(ValueError, match="physical=True is for whole models"):
        load_official(data, physical=True, mean=0.0, std=1.0)


def test_modules_the_published_code_lacks_are_not_exported():
    with pytest.raises(ValueError, match="no counterpart of Linear"):
        to_official_state_dict(torch.nn.Linear(2, 3))
    with pytest.raises(ValueError, match="linear messages only"):
        to_official_state_dict(Equiformer.from_preset("qm9_dot", message="nonlinear", num_layers=1))
