import pytest
import yaml
from ase import Atoms
from ase.io import write
from rich.console import Console

from pyg_equiformer.training import TrainConfig, dry_run

from .conftest import TINY, water


@pytest.fixture
def config(tmp_path):
    frames = []
    for seed in range(20):
        structure = water(seed)
        atoms = Atoms(structure.z.numpy(), structure.pos.double().numpy())
        atoms.info["energy"], atoms.arrays["forces"] = float(structure.energy), structure.forces.double().numpy()
        frames.append(atoms)
    write(tmp_path / "water.xyz", [*frames, frames[0]])
    return TrainConfig(data="water.xyz", model=TINY, epochs=3, batch_size=4)


def shown(config, **options):
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    dry_run(config, console=console, **options)
    return console.export_text()


def test_a_dry_run_tells_the_plan_and_writes_nothing(config, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    text = shown(config)
    assert sorted(tmp_path.rglob("*")) == before
    assert "water: 15 structures to train, 1 to validate, 4 to test; network small with" in text
    assert "1 frame" in text  # the duplicate that is left out
    assert "ends after 3 passes of 4 batches" in text
    assert "elements Z = 1, 8; on average 3.0 atoms and 2.0 neighbours within" in text
    assert "energy: l1 loss, weight 1, in units of" in text
    assert "forces: norm loss, weight 100, in units of" in text
    assert "reference energies of the elements in eV: 1: -" in text
    settings = yaml.safe_load(text[text.index("settings:") :])["settings"]
    assert TrainConfig.from_dict(settings) == config


def test_it_tells_the_end_by_the_clock_committees_and_denoising(config):
    timed = config.replace(epochs=None, max_time=60.0, denoising="dens", noise_std=0.05)
    text = shown(timed, ensemble=4)
    assert "ends after at most 60 s; 4 models, one after another" in text
    assert "denoising: dens, σ = 0.05 Å, weight 5" in text
    assert "3 passes of 4 batches or at most 60 s" in shown(config.replace(max_time=60.0))


def test_names_with_brackets_are_no_markup(config, tmp_path):
    (tmp_path / "water.xyz").rename(tmp_path / "water[bold].xyz")
    assert "water[bold]: 15 structures" in shown(config.replace(data="water[bold].xyz"))


def test_what_is_wrong_is_an_error_as_in_the_run(config):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        shown(config.replace(data="none.xyz"))
    with pytest.raises(ValueError, match=r"weight: expected targets of this run \(energy, forces\), got gap"):
        shown(config.replace(weight={"gap": 1.0}))
    with pytest.raises(ValueError, match="no setting 'layers'; did you mean num_layers"):
        shown(config.replace(model={"layers": 3}))
