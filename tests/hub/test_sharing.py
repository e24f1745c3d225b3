"""Models that travel: into folders and repositories, and back."""

import json
from pathlib import Path

import pytest
import torch

from pyg_equiformer import (
    EnergyForces,
    Ensemble,
    Equiformer,
    PropertyModel,
    from_pretrained,
    load_model,
    push_to_hub,
    save_model,
    save_pretrained,
)
from pyg_equiformer.checkpoints import read_extra

from ..models.conftest import tiny

safetensors = pytest.importorskip("safetensors.torch")

REFERENCES = {1: -13.6, 8: -2041.3}


def potential(seed: int = 0) -> EnergyForces:
    torch.manual_seed(seed)
    return EnergyForces(tiny(num_layers=1), energy_scale=0.3, energy_shift=-1.5, atomic_energies=REFERENCES)


def kinds():
    several = {1: [0.1, 0.2], 8: [0.3, 0.4]}
    properties = PropertyModel(
        tiny(num_layers=1, num_outputs=2), ["a", "b"], scale=2.0, atomic_references=several, units=["eV", "D"]
    )
    members = Ensemble([potential(0), potential(1)])
    return {"network": tiny(num_layers=1), "potential": potential(), "properties": properties, "committee": members}


def same(a, b) -> bool:
    z, pos = torch.tensor([8, 1, 1]), torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]])
    pos = pos.to(next(a.parameters()).dtype)
    first, second = a.eval()(z, pos), b(z, pos)
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_comes_back_to_the_last_bit(tmp_path, kind, dtype):
    model = kinds()[kind].to(dtype)
    save_pretrained(model, tmp_path / "m")
    again = from_pretrained(tmp_path / "m")
    assert type(again) is type(model)
    assert not again.training
    assert same(model, again)
    assert same(model, load_model(tmp_path / "m"))
    assert {p.name for p in (tmp_path / "m").iterdir()} == {"README.md", "config.json", "model.safetensors"}


@pytest.mark.parametrize("kind", kinds())
def test_methods_of_a_model_do_what_the_functions_do(tmp_path, kind):
    model = kinds()[kind]
    told = {"title": "Mine", "extra": {"elements": [1, 8]}}
    model.save_pretrained(tmp_path / "method", **told)
    save_pretrained(model, tmp_path / "function", **told)
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "method" / name).read_bytes() == (tmp_path / "function" / name).read_bytes()
    again = type(model).from_pretrained(tmp_path / "method")
    assert type(again) is type(model)
    assert same(model, again)


def test_a_class_refuses_models_of_another_class(tmp_path):
    potential().save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="holds a model of class EnergyForces, expected PropertyModel"):
        PropertyModel.from_pretrained(tmp_path / "m")


def test_a_file_of_a_model_and_its_folder_hold_the_same(tmp_path):
    extra = {"elements": [1, 8], "note": "mine", "nested": {"lengths": [1.5, None, True]}}
    save_model(tmp_path / "model.pt", potential(), **extra)
    save_pretrained(tmp_path / "model.pt", tmp_path / "m")
    assert read_extra(tmp_path / "m") == extra
    assert from_pretrained(tmp_path / "m").atomic_energies == REFERENCES
    save_pretrained(tmp_path / "m", tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()


def test_an_equifold_comes_back(tmp_path):
    from pyg_equiformer.folding import load_fold_model, save_fold_model

    from ..folding import test_equifold

    model = test_equifold.model()
    save_fold_model(tmp_path / "model.pt", model, training={"structures": "/home/ada/chains"})
    save_pretrained(tmp_path / "model.pt", tmp_path / "m")
    for again in (from_pretrained(tmp_path / "m"), load_fold_model(tmp_path / "m")):
        state = again.state_dict()
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    card = (tmp_path / "m" / "README.md").read_text()
    assert "EquiFold" in card
    assert "chains" in card
    assert "/home/ada" not in card + (tmp_path / "m" / "config.json").read_text()


def test_old_files_without_a_version_of_the_package_can_be_passed_on(tmp_path):
    save_model(tmp_path / "model.pt", potential())
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    settings = content.pop("settings")
    torch.save({**content, "version": 1, "energy": settings, "package": "0.0.1"}, tmp_path / "model.pt")
    save_pretrained(tmp_path / "model.pt", tmp_path / "m")
    assert same(potential(), from_pretrained(tmp_path / "m"))


def shared(tmp_path) -> Path:
    return save_pretrained(potential(), tmp_path / "m")


def changed(folder: Path, **values) -> None:
    """Change the config of a folder as one who also mends its checksum."""
    from pyg_equiformer.checkpoints.pretrained import CONFIG, _sum_of

    content = json.loads((folder / CONFIG).read_text())
    sums = content.pop("sha256")
    for name, value in values.items():
        content.pop(name) if value is None else content.update({name: value})
    content["sha256"] = {**sums, CONFIG: _sum_of(content)}
    (folder / CONFIG).write_text(json.dumps(content))


def test_truncated_weights_are_refused(tmp_path):
    file = shared(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is not the file that config\.json belongs to: truncated"):
        from_pretrained(tmp_path / "m")


def test_weights_of_which_one_bit_was_changed_are_refused(tmp_path):
    file = shared(tmp_path) / "model.safetensors"
    packed = bytearray(file.read_bytes())
    packed[-5] ^= 1
    file.write_bytes(packed)
    with pytest.raises(ValueError, match="truncated or changed"):
        from_pretrained(tmp_path / "m")


def test_a_changed_or_truncated_config_is_refused(tmp_path):
    file = shared(tmp_path) / "config.json"
    text = file.read_text()
    file.write_text(text.replace('"cutoff": 5.0', '"cutoff": 6.0'))
    with pytest.raises(ValueError, match="its checksum differs"):
        from_pretrained(tmp_path / "m")
    file.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="is not whole JSON"):
        from_pretrained(tmp_path / "m")
    file.write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is not the config of a model of pyg_equiformer"):
        from_pretrained(tmp_path / "m")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    (shared(tmp_path) / name).unlink()
    with pytest.raises(ValueError, match=rf"there is no file .*{name}"):
        from_pretrained(tmp_path / "m")


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(tmp_path):
    changed(shared(tmp_path), version=7, package="9.1.0")
    with pytest.raises(ValueError, match=r"format version 7 \(made by pyg_equiformer 9\.1\.0\), this package reads up"):
        from_pretrained(tmp_path / "m")


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    folder = shared(tmp_path)
    config = json.loads((folder / "config.json").read_text())["config"]
    changed(folder, config={**config, "num_layers": 5})
    with pytest.raises(ValueError, match="do not fit its config"):
        from_pretrained(folder)
    changed(folder, config={**config, "num_layer": 5})
    with pytest.raises(ValueError, match="no setting 'num_layer'; did you mean num_layers"):
        from_pretrained(folder)
    changed(folder, config=None)
    with pytest.raises(ValueError, match="has no 'config', it is not whole"):
        from_pretrained(folder)


def test_lacking_weights_are_refused(tmp_path):
    folder = shared(tmp_path)
    names = json.loads((folder / "config.json").read_text())["state_dict"]
    changed(folder, state_dict=[*names, "blocks.9.weight"])
    with pytest.raises(ValueError, match=r"lacks 1 of the weights .*blocks\.9\.weight"):
        from_pretrained(folder)
    changed(folder, state_dict=names[1:])
    with pytest.raises(ValueError, match="do not fit its config: 1 missing"):
        from_pretrained(folder)


def test_pickles_are_not_opened(tmp_path):
    """A torch file under the name of the weights is refused, whatever it holds."""
    import hashlib

    folder = shared(tmp_path)
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    content = json.loads((folder / "config.json").read_text())
    content["sha256"]["model.safetensors"] = digest
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is no safetensors file"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"t": torch.zeros(2)}, "extra.t: expected numbers, texts, lists or dicts of them, got Tensor"),
        ({"x": [1.0, float("nan")]}, r"extra.x.1: expected a finite number, got nan"),
        ({"d": {"1": 2}}, "extra.d: expected a dict with names, or with whole numbers"),
        ({"d": {1: 2, "a": 3}}, "extra.d: expected a dict with names, or with whole numbers"),
    ],
)
def test_values_that_json_would_change_are_refused(tmp_path, extra, message):
    with pytest.raises(ValueError, match=message):
        save_pretrained(potential(), tmp_path / "m", extra=extra)


def test_other_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes holds other files"):
        save_pretrained(potential(), tmp_path / "notes")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        save_pretrained(potential(), tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model\.pt"):
        save_pretrained(tmp_path / "notes", tmp_path / "m")
    (tmp_path / "notes" / "model.pt").write_text("no checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        save_pretrained(tmp_path / "notes", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_layer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="only Equiformer, EnergyForces, PropertyModel and Ensemble"):
        save_pretrained(torch.nn.Linear(2, 2), tmp_path / "m")


class StubHub:
    """What of huggingface_hub.HfApi is used, with its signatures; keeps what is uploaded."""

    repositories: dict[str, dict[str, bytes]] = {}  # noqa: RUF012
    calls: list[tuple] = []  # noqa: RUF012

    def __init__(self, endpoint=None, token=None):
        self.token = token

    def create_repo(self, repo_id, *, token=None, private=None, repo_type=None, exist_ok=False):
        self.calls.append(("create_repo", repo_id, private, exist_ok, self.token))
        self.repositories.setdefault(repo_id, {})
        return f"https://hub.example/{repo_id}"

    def upload_folder(
        self, *, repo_id, folder_path, path_in_repo=None, commit_message=None, revision=None, allow_patterns=None
    ):
        self.calls.append(("upload_folder", repo_id, commit_message, revision))
        for file in Path(folder_path).iterdir():
            if file.name in allow_patterns:
                self.repositories[repo_id][file.name] = file.read_bytes()


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    StubHub.repositories, StubHub.calls = {}, []

    def snapshot_download(repo_id, *, revision, token, cache_dir, local_files_only, allow_patterns):
        StubHub.calls.append(("snapshot_download", repo_id, revision, token, local_files_only))
        folder = tmp_path_factory.mktemp("snapshot")
        for name, content in StubHub.repositories[repo_id].items():
            if name in allow_patterns:
                (folder / name).write_bytes(content)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "HfApi", StubHub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return StubHub


def test_a_model_goes_to_a_repository_and_comes_back(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = push_to_hub(potential(), "ada/water", private=True, token="secret", title="Water of Ada", licence="mit")
    assert address == "https://hub.example/ada/water"
    assert set(hub.repositories["ada/water"]) == {"README.md", "config.json", "model.safetensors"}
    assert b"# Water of Ada" in hub.repositories["ada/water"]["README.md"]
    assert same(potential(), from_pretrained("ada/water", revision="v1", token="secret"))
    assert hub.calls == [
        ("create_repo", "ada/water", True, True, "secret"),
        ("upload_folder", "ada/water", "Upload a model of pyg_equiformer", None),
        ("snapshot_download", "ada/water", "v1", "secret", False),
    ]


def test_the_method_of_a_model_puts_it_into_a_repository(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert potential().push_to_hub("ada/water", private=True, title="Water of Ada") == "https://hub.example/ada/water"
    assert ("create_repo", "ada/water", True, True, None) in hub.calls
    assert same(potential(), EnergyForces.from_pretrained("ada/water", revision="v1"))


def test_a_folder_goes_with_the_card_that_was_edited_and_without_other_files(hub, tmp_path):
    folder = shared(tmp_path)
    (folder / "README.md").write_text("# edited")
    (folder / "secret.txt").write_text("mine")
    push_to_hub(folder, "ada/water")
    assert hub.repositories["ada/water"]["README.md"] == b"# edited"
    assert "secret.txt" not in hub.repositories["ada/water"]
    with pytest.raises(ValueError, match="has its card already"):
        push_to_hub(folder, "ada/water", title="Another")


def test_what_does_not_load_is_not_pushed(hub, tmp_path):
    folder = shared(tmp_path)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="truncated or changed"):
        push_to_hub(folder, "ada/water")
    with pytest.raises(ValueError, match="repo_id must be owner/name, got 'water'"):
        push_to_hub(potential(), "water")
    with pytest.raises(TypeError, match="license"):
        push_to_hub(potential(), "ada/water", license="mit")
    assert hub.calls == []


def test_the_calls_fit_the_signatures_of_huggingface_hub():
    """The stub takes what the package gives; so does the real thing."""
    import inspect

    huggingface_hub = pytest.importorskip("huggingface_hub")
    api = huggingface_hub.HfApi
    inspect.signature(api.create_repo).bind(api, "a/b", private=None, exist_ok=True)
    given = {"commit_message": "m", "revision": None, "allow_patterns": []}
    inspect.signature(api.upload_folder).bind(api, repo_id="a/b", folder_path="f", **given)
    given = {"revision": None, "token": None, "cache_dir": None, "local_files_only": False, "allow_patterns": []}
    inspect.signature(huggingface_hub.snapshot_download).bind("a/b", **given)


def test_names_that_are_neither_folder_nor_repository_are_told():
    with pytest.raises(FileNotFoundError, match="there is no folder water, expected one that save_pretrained wrote"):
        from_pretrained("water")


def test_without_safetensors_the_extra_is_named(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"pip install \"pyg_equiformer\[hub\]\""):
        save_pretrained(Equiformer.from_preset("small", num_layers=1), tmp_path / "m")
