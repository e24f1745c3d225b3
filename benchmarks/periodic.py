"""Train on periodic silicon or molybdenum from the command line, and keep the errors of energies, forces and stress.

    python benchmarks/periodic.py Si --max-time 4m
    python benchmarks/periodic.py Mo --max-time 4m --stress-weight 0     # what the stress learns from the rest
    python benchmarks/periodic.py Si model.norm=layer                    # another network

The structures are written as extended XYZ with stresses in eV/Å³, then `pyg-equiformer train` and `pyg-equiformer
eval` do the rest, as for anybody's file. Beside the errors stand those of the trivial predictor: the mean energy per
atom and the mean stress of the training structures, and no forces. `python benchmarks/tables.py` makes the table.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from tasks import SHARED, TASKS, reader
from torch_geometric.data import Data

from pyg_equiformer.training.hardware import hardware

HERE = Path(__file__).parent
CLI = [sys.executable, "-m", "pyg_equiformer.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("element", choices=["Si", "Mo"])
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="settings of the run")
    parser.add_argument("--max-time", default="4m", metavar="TIME", help="longest time of the training loop")
    parser.add_argument("--stress-weight", type=float, default=1000.0, help="weight of the stress in the loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the benchmark data")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for files and runs")
    options = parser.parse_intermixed_args()
    name = f"periodic_{options.element}_seed{options.seed}_stress{options.stress_weight:g}_{options.max_time}"
    name += "".join(f"_{s.removeprefix('model.').replace('=', '-')}" for s in _of_network(options.settings))
    folder, sets = options.runs / name, _sets(options)
    files = {part: _written(options.runs / f"{options.element}_{part}.xyz", found) for part, found in sets.items()}
    settings = [f"weight.stress={options.stress_weight:g}", "energy_per_atom=true", "threads=1", *options.settings]
    command = ["train", files["train"], "--test", files["test"], "--out", str(folder), "--max-time", options.max_time]
    subprocess.run([*CLI, *command, "--seed", str(options.seed), *settings], check=True)
    subprocess.run([*CLI, "eval", str(folder), files["test"], "--out", str(folder / "eval")], check=True)
    _keep(name, options, folder, sets)


def _of_network(settings: list[str]) -> list[str]:
    return [s for s in settings if s.startswith("model.")]


def _sets(options: argparse.Namespace) -> dict[str, list[Data]]:
    task = f"mlearn:{options.element}"
    found = TASKS[task].read(reader(options.shared), task)
    return {"train": list(found.train), "test": list(found.test)}


def _written(path: Path, structures: list[Data]) -> str:
    """Write structures with their labels as extended XYZ."""
    frames = []
    for s in structures:
        atoms = Atoms(s.z.numpy(), s.pos.double().numpy(), cell=s.cell[0].double().numpy(), pbc=True)
        stress = s.stress[0].numpy()[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        forces = s.forces.double().numpy()
        atoms.calc = SinglePointCalculator(atoms, energy=s.energy.item(), forces=forces, stress=stress)
        frames.append(atoms)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames, format="extxyz")
    return str(path)


def _trivial(train: list[Data], test: list[Data]) -> dict[str, Any]:
    """Errors of the means of the training structures."""

    def columns(structures: list[Data]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        energies = np.array([s.energy.item() / s.num_nodes for s in structures])
        return energies, *(np.concatenate([s[k].numpy() for s in structures]) for k in ("forces", "stress"))

    known, wanted = columns(train), columns(test)
    guess = known[0].mean(), 0.0, known[2].mean(axis=0)
    names, units = ("energy_mae_per_atom", "forces_mae", "stress_mae"), ("meV/atom", "meV/Å", "meV/Å³")
    errors = [1000 * float(np.abs(w - g).mean()) for w, g in zip(wanted, guess)]
    return {n: {"value": e, "unit": u} for n, e, u in zip(names, errors, units)}


def _keep(name: str, options: argparse.Namespace, folder: Path, sets: dict[str, list[Data]]) -> None:
    evaluated = json.loads((folder / "eval" / "metrics.json").read_text(encoding="utf-8"))
    trained = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    facts = {
        "periodic": options.element,
        "hardware": hardware(),
        "stress_weight": options.stress_weight,
        "seed": options.seed,
        "settings": options.settings,
        "run": trained["run"],
        "test": next(iter(evaluated.values())),
        "trivial": _trivial(sets["train"], sets["test"]),
    }
    path = HERE / "results" / f"{name}.json"
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"→ {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
