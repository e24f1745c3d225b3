"""Molecular dynamics with a trained model: a committee relaxes ethanol, runs NVE and NVT, and tells how sure it is.

    python examples/run_md.py                  # trains a committee of two first: about ten minutes on two cores
    python examples/run_md.py runs/mine mine.xyz  # your own run (or committee) and a structure to start from
    python examples/run_md.py --smoke          # a few steps of everything

`pyg-equiformer relax` and `pyg-equiformer md` do the same from the command line.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase import units
from ase.io import read
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from pyg_equiformer import EquiformerCalculator
from pyg_equiformer.data import load_structure
from pyg_equiformer.simulation import MDSettings, SimulationStopped, resume_md, run_md
from pyg_equiformer.training import resolve, train_committee


def trained(folder: Path, smoke: bool) -> Path:
    """Train a committee of two on the bundled ethanol, and return its folder."""
    settings = {"epochs": 1 if smoke else 12}
    if smoke:
        settings |= {"train_size": 10, "model": {"num_layers": 1}}
    train_committee(resolve(None, settings=settings), 2, out=folder / "run")
    return folder / "run"


def main(run: Path | None, structure: Path | None, folder: Path, smoke: bool) -> None:
    run = run if run is not None else trained(folder, smoke)
    atoms = read(structure) if structure is not None else load_structure("ethanol")

    # Any of ASE's algorithms takes the calculator. Dynamics over long times want float64.
    calculator = EquiformerCalculator(run, dtype="float64", skin=0.5)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=3 if smoke else 200)
    print(f"relaxed: {atoms.get_potential_energy():.4f} eV ± {calculator.results.get('energy_std', 0.0):.4f} eV")
    print("energies of atoms (eV):", np.round(atoms.get_potential_energies(), 2))

    # ASE's own loop: the total energy should stay where it is.
    rng = np.random.default_rng(0)
    atoms.set_momenta(np.sqrt(units.kB * 300 * atoms.get_masses())[:, None] * rng.standard_normal((len(atoms), 3)))
    totals = []
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()))
    dynamics.run(4 if smoke else 400)
    print(f"NVE: the total energy varies by {1000 * np.ptp(totals):.3f} meV")
    print(f"{calculator.neighbors.rebuilds} neighbour searches for {calculator.neighbors.calls} structures")

    # The same in a folder, with trajectory, log, figure and restart file, and limits to trust.
    limits = {"max_spread": 100.0, "max_temperature": 1e6} if smoke else {"max_spread": 1.0}
    settings = MDSettings("nvt", temperature=300.0, timestep=0.5, steps=4 if smoke else 1000, every=2, **limits)
    try:
        result = run_md(atoms, calculator, folder / "md", settings)
        result = resume_md(folder / "md", calculator, steps=2 * settings.steps)  # longer; after a crash likewise
    except SimulationStopped as stopped:
        print(stopped)  # the structure in stopped.xyz is one to label and to train on
        return
    print(f"NVT: {result.steps} steps at {result.ns_per_day:.2g} ns/day, see {folder}/md")
    frames = read(folder / "md" / "trajectory.xyz", index=":")
    spread = [
        np.linalg.norm(frame.arrays["forces_std"], axis=1).max() for frame in frames if "forces_std" in frame.arrays
    ]
    if spread:
        print(f"the members' forces differ by up to {max(spread):.3f} eV/Å over {len(frames)} frames")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run; without it one is trained")
    parser.add_argument("structure", nargs="?", type=Path, help="to start from; without it ethanol")
    parser.add_argument("--out", type=Path, help="folder for the results; without it a temporary one")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()
    main(options.run, options.structure, options.out or Path(tempfile.mkdtemp()), options.smoke)
