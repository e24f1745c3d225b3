"""The example scripts run as they stand, on raw files that PyG processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyg_equiformer import EnergyForces, Equiformer, load_model

from ..data.protein_texts import chain
from ..data.raw_files import molecules, trajectory, write_md17, write_qm9, write_rmd17

EXAMPLES = Path(__file__).parents[2] / "examples"

pytest.importorskip("rdkit")
pytest.importorskip("ase")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of data sets with 80 molecules of QM9 and trajectories of ethanol."""
    root, found = tmp_path_factory.mktemp("data"), molecules(80)
    write_qm9(root, found, uncharacterized=[7])
    frames = trajectory(found[10].z, found[10].pos, 60)
    write_md17(root, "ethanol", frames)
    write_rmd17(root, "ethanol", frames, splits=None)
    return root


def run(name, folder, *arguments):
    """Run an example in a folder and return what it printed."""
    command = [sys.executable, str(EXAMPLES / name), "--smoke", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        ("gap", "meV"),
        pytest.param("u0", "meV", marks=pytest.mark.slow),
        pytest.param("cv", "cal/(mol K)", marks=pytest.mark.slow),
    ],
)
def test_qm9_learns_from_raw_files_and_saves_a_model(root, tmp_path, target, unit):
    text = run("qm9.py", tmp_path, "--root", root, "--target", target)
    training = [float(x) for x in re.findall(r"training (\S+),", text)]
    assert len(training) == 6
    assert training[-1] < 0.5 * training[0]
    assert re.search(rf"test: \S+ {re.escape(unit)} mean absolute error", text)
    assert isinstance(load_model(tmp_path / f"qm9_{target}.pt"), Equiformer)


@pytest.mark.parametrize("molecule", ["ethanol", pytest.param("revised ethanol", marks=pytest.mark.slow)])
def test_md17_learns_from_raw_files_and_saves_a_model(root, tmp_path, molecule):
    text = run("md17.py", tmp_path, "--root", root, "--molecule", molecule)
    forces = [float(x) for x in re.findall(r"validation energy \S+ meV, forces (\S+) meV/Å", text)]
    assert len(forces) == 6
    assert forces[-1] < 0.85 * forces[0]
    assert isinstance(load_model(tmp_path / f"md17_{molecule}.pt"), EnergyForces)


def test_proteins_are_denoised(tmp_path):
    pytest.importorskip("biotite")
    (tmp_path / "proteins").mkdir()
    for name in ("AGSAGS", "GGGG", "SASA"):
        (tmp_path / "proteins" / f"{name}.pdb").write_text(chain(name))
    text = run("denoise_proteins.py", tmp_path, "proteins")
    before, after = map(float, re.search(r"RMSD (\S+) → (\S+) Å on average", text).groups())
    assert 0.5 < before < 3
    assert after > 0
    assert list((tmp_path / "denoised").glob("*.pdb"))


def test_fold_proteins_learns_from_random_starts_and_writes_a_structure(tmp_path):
    pytest.importorskip("biotite")
    from ..cli.test_fold_train import EVERY, heavy

    (tmp_path / "every.pdb").write_text(heavy(EVERY, tmp_path / "made.pdb"))
    text = run("fold_proteins.py", tmp_path, "every.pdb")
    assert re.search(r"step    50: frame-aligned error \d\.\d+, lDDT of Cα 0\.\d+", text)
    assert re.search(r"from a new start: all-atom RMSD \d+\.\d\d Å", text)
    assert (tmp_path / "folded" / "every_A.cif").exists()


#: These need files.
NEED_DATA = ("qm9.py", "md17.py", "denoise_proteins.py", "fold_proteins.py")


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.py") if p.name not in NEED_DATA))
def test_examples_without_a_download_run(name, tmp_path):
    assert run(name, tmp_path)


def test_examples_can_be_read_in_two_minutes():
    for script in EXAMPLES.glob("*.py"):
        assert len(script.read_text().splitlines()) <= 100, script.name
