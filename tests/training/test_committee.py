import csv
import json

import numpy as np
import pytest
import torch
from rich.console import Console
from torch_geometric.data import Batch

from pyg_equiformer import load_model
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.data.structure_sets import Target
from pyg_equiformer.models import Ensemble
from pyg_equiformer.training import Interrupted, Structures, TrainConfig, resume, train_committee
from pyg_equiformer.training import committee as committee_module
from pyg_equiformer.training.run import train

from .conftest import TINY, water
from .runs import PressCtrlC, quiet_train, same, state
from .systems import charged_water

CONFIG = TrainConfig(model=TINY, epochs=2, batch_size=7, validations=2, seed=5, checkpoint_every=2)
FILES = {"model.pt", "metrics.json", "report.md", "parity.png", "config.yaml", "members"}


def sets():
    return Structures([water(i) for i in range(20)], test=[water(i) for i in range(100, 104)], name="water")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("committee") / "run"
    console = Console(record=True, file=open("/dev/null", "w"), width=120)  # noqa: SIM115
    result = train_committee(CONFIG, 3, structures=sets(), out=folder, console=console)
    return result, console.export_text()


def batch():
    return Batch.from_data_list([RadiusGraph(5.0)(water(i)) for i in range(100, 104)])


def test_every_member_has_the_folder_of_a_run_and_so_has_the_committee(trained):
    result, shown = trained
    assert {p.name for p in result.folder.iterdir()} == FILES | {"member-0", "member-1", "member-2"}
    for k in range(3):
        member = result.folder / f"member-{k}"
        assert {"model.pt", "metrics.json", "report.md", "metrics.csv"} <= {p.name for p in member.iterdir()}
        settings = TrainConfig.load(member / "config.yaml")
        assert settings == CONFIG.replace(seed=5 + k, split_seed=5)
        assert f"member {k + 1} of 3, seed {5 + k}" in shown
    assert TrainConfig.load(result.folder / "config.yaml") == CONFIG


def test_members_differ_but_share_their_sets(trained):
    result, _ = trained
    members = [result.folder / f"member-{k}" for k in range(3)]
    assert not same(state(members[0]), state(members[1]))
    stds = [json.loads((m / "metrics.json").read_text()) for m in members]
    for split in ("valid", "train", "test"):
        assert len({m[split]["energy_std"]["value"] for m in stds}) == 1
        assert len({m[split]["energy_mae"]["value"] for m in stds}) == 3


def test_the_first_member_is_what_a_single_run_would_be(trained, tmp_path):
    alone = quiet_train(sets(), CONFIG, out=tmp_path / "alone")
    assert same(state(alone.folder), state(trained[0].folder / "member-0"))


def test_the_committee_predicts_means_and_spreads_of_its_members(trained):
    result, _ = trained
    whole = load_model(result.folder / "model.pt")
    assert isinstance(whole, Ensemble)
    members = [load_model(result.folder / f"member-{k}" / "model.pt") for k in range(3)]
    waters = batch()
    with torch.no_grad():
        out, each = whole(waters), [m(waters) for m in members]
    for name in ("energy", "forces"):
        values = np.stack([e[name].double().numpy() for e in each])
        np.testing.assert_allclose(out[name].double().numpy(), values.mean(0), rtol=1e-6)
        np.testing.assert_allclose(out[f"{name}_std"].double().numpy(), values.std(0), rtol=1e-4, atol=1e-6)


def test_errors_spread_and_members_are_told(trained):
    result, shown = trained
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics == result.metrics
    assert metrics["test"]["energy_spread"]["value"] > 0
    assert metrics["test"]["forces_spread"]["unit"] == "meV/Å"
    assert metrics["run"]["members"] == 3
    assert metrics["run"]["steps"] == 6
    text = (result.folder / "report.md").read_text()
    assert all(f"member-{k}" in text for k in range(3))
    assert "committee std" in shown


def test_nothing_but_our_own_words_is_shown(tmp_path, capsys):
    train_committee(CONFIG.replace(epochs=1), 2, structures=sets(), out=tmp_path / "run", console=Console(quiet=True))
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""


def test_an_interrupted_committee_goes_on_to_the_same_models(trained, tmp_path, monkeypatch):
    stops = iter([None, 4])

    def stopped(structures, config, **options):
        return train(structures, config, callbacks=[PressCtrlC(after=next(stops, None))], **options)

    monkeypatch.setattr(committee_module, "train", stopped)
    with pytest.raises(Interrupted) as raised:
        train_committee(CONFIG, 3, structures=sets(), out=tmp_path / "run", console=Console(quiet=True))
    assert "stopped by Ctrl-C after 4 steps" in str(raised.value)
    # The command is that of the committee, not of the member under way.
    assert str(raised.value).endswith(f"go on with the committee: pyg-equiformer resume {tmp_path / 'run'}")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.yaml", "member-0", "member-1", "members"]
    done = (tmp_path / "run" / "member-0" / "model.pt").stat().st_mtime_ns
    result = resume(tmp_path / "run", structures=sets(), console=Console(quiet=True))
    assert (tmp_path / "run" / "member-0" / "model.pt").stat().st_mtime_ns == done
    for k in range(3):
        assert same(state(tmp_path / "run" / f"member-{k}"), state(trained[0].folder / f"member-{k}"))
    assert result.metrics["test"]["energy_mae"] == trained[0].metrics["test"]["energy_mae"]
    logged = (tmp_path / "run" / "member-1" / "metrics.csv").read_text().splitlines()
    assert [row["step"] for row in csv.DictReader(logged)][-1] == "5"


def test_a_member_that_ended_before_its_first_save_begins_anew(trained, tmp_path):
    (tmp_path / "run" / "member-0").mkdir(parents=True)
    CONFIG.write(tmp_path / "run" / "config.yaml")
    CONFIG.write(tmp_path / "run" / "member-0" / "config.yaml")
    (tmp_path / "run" / "members").write_text("2\n")
    resume(tmp_path / "run", structures=sets(), console=Console(quiet=True))
    assert same(state(tmp_path / "run" / "member-0"), state(trained[0].folder / "member-0"))


def test_properties_have_committees_too(tmp_path):
    gaps = Structures([charged_water(i) for i in range(12)], targets=(Target("gap", "graph_scalar", "eV"),))
    result = train_committee(CONFIG, 2, structures=gaps, out=tmp_path / "run", console=Console(quiet=True))
    assert result.metrics["test"]["gap_spread"]["unit"] == "meV"


def test_wrong_sizes_and_settings_are_errors_before_any_folder_is_made(tmp_path):
    with pytest.raises(ValueError, match="a committee of at least 2 models, got 1"):
        train_committee(CONFIG, 1, structures=sets(), out=tmp_path / "run")
    with pytest.raises(ValueError, match="weight: expected targets"):
        train_committee(CONFIG.replace(weight={"gap": 1}), 2, structures=sets(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
