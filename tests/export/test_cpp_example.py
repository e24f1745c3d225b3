"""The C++ example, built against the installed PyTorch, prints what the model gives."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from pyg_equiformer import EnergyForces, periodic_radius_graph

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[2] / "examples" / "cpp" / "main.cpp"
CRYSTAL = """4
Lattice="3.1 0.2 0.0 0.0 3.4 0.3 0.5 0.0 3.0" Properties=species:S:1:pos:R:3 pbc="T T T"
O 0.1 0.0 0.2
H 1.6 1.5 1.7
H -4.0 2.0 0.5
O 0.9 2.2 9.1
"""
MOLECULE = """3
Properties=species:S:1:pos:R:3
O 0.0 0.0 0.12
H 0.0 0.76 -0.48
H 0.0 -0.76 -0.48
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    home = Path(torch.__file__).parent
    out = tmp_path_factory.mktemp("cpp") / "potential"
    command = [compiler, "-std=c++20", "-O1", str(SOURCE), "-o", str(out)]
    command += [f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}"]
    command += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"]
    command += [f"-L{home / 'lib'}", f"-Wl,-rpath,{home / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
    subprocess.run(command, check=True)
    return out


def call(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def read(text):
    """The printed tables by name."""
    tables = {}
    for line in text.splitlines():
        if line[0].isalpha():
            rows = tables.setdefault(line.split()[0], [])
        else:
            rows.append([float(number) for number in line.split()])
    return {name: torch.tensor(rows, dtype=torch.float64) for name, rows in tables.items()}


@pytest.mark.parametrize("text", [CRYSTAL, MOLECULE], ids=["crystal", "molecule"])
def test_it_prints_energy_forces_and_stress_of_the_model(program, package, model, tmp_path, text):
    (tmp_path / "in.xyz").write_text(text)
    done = call(program, package, tmp_path / "in.xyz")
    assert done.returncode == 0, done.stderr
    got = read(done.stdout)
    lines = [line.split() for line in text.splitlines()[2:]]
    z = torch.tensor([{"O": 8, "H": 1}[words[0]] for words in lines])
    pos = torch.tensor([list(map(float, words[1:])) for words in lines], dtype=torch.float64)
    periodic = "Lattice" in text
    cell = 50 * torch.eye(3, dtype=torch.float64)
    if periodic:
        numbers = text.split('"')[1].split()
        cell = torch.tensor(list(map(float, numbers)), dtype=torch.float64).view(3, 3)
    edges, shift = periodic_radius_graph(pos, 5.0, cell, torch.tensor([periodic] * 3))
    names = ("energy_scale", "energy_shift", "atomic_energies")
    full = EnergyForces(model.model, **{name: getattr(model, name) for name in names}, stress=True)
    wanted = full(z, pos, edge_index=edges, edge_shift=shift, cell=cell.unsqueeze(0))
    torch.testing.assert_close(got["energy"][0], wanted["energy"].detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(got["forces"], wanted["forces"].detach(), rtol=1e-9, atol=1e-9)
    assert ("stress" in got) == periodic
    if periodic:
        torch.testing.assert_close(got["stress"], wanted["stress"][0].detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MOLECULE.replace("O", "C", 1), "does not know Z = 6"),
        (MOLECULE.replace("O", "Xy", 1), "unknown element 'Xy'"),
        (MOLECULE.replace("3\n", "4\n", 1), "atom 4"),
    ],
)
def test_it_says_what_is_wrong_with_a_file(program, package, tmp_path, text, message):
    (tmp_path / "in.xyz").write_text(text)
    done = call(program, package, tmp_path / "in.xyz")
    assert done.returncode == 1
    assert message in done.stderr
