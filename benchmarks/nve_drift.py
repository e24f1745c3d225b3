"""Drift of the total energy in microcanonical dynamics with a trained model.

    python benchmarks/nve_drift.py runs/mine structure.xyz            # three seeds, 10 ps at 0.25 fs, float64
    python benchmarks/nve_drift.py runs/mine structure.xyz --time 0.1 # shorter
    python benchmarks/nve_drift.py runs/mine --seeds 1                # ethanol, if no structure is given

The structure is relaxed and gets velocities of 300 K (so about half of it once it is in equilibrium). The slope of a
straight line through the total energy per atom over time is the drift. Its standard error is that of uncorrelated noise
times the square root of the statistical inefficiency, by which the variance of block averages of the residuals exceeds
that of as many independent numbers. Writes results/nve_drift-NAME.json and figures/nve_drift-NAME.png.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pyg_equiformer import EquiformerCalculator
from pyg_equiformer.data import load_structure
from pyg_equiformer.simulation import MDSettings, relax, run_md
from pyg_equiformer.simulation.figure import read_log
from pyg_equiformer.simulation.structure_files import read_one
from pyg_equiformer.training.hardware import hardware

HERE = Path(__file__).parent
UNIT = "meV/atom/ns"


def inefficiency(residuals: np.ndarray, least_blocks: int = 8) -> float:
    """Return by how much noise is worse than independent: the largest ratio over block lengths, at least 1.

    For blocks of n numbers it is n · var(block means) / var(numbers), which grows with n up to the correlation time.
    """
    variance, worst, length = float(residuals.var()), 1.0, 1
    while variance > 0 and len(residuals) // length >= least_blocks:
        count = len(residuals) // length
        means = residuals[: count * length].reshape(count, length).mean(axis=1)
        worst, length = max(worst, length * float(means.var(ddof=1)) / variance), 2 * length
    return worst


def drift(time: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    """Return slope of a straight line and its standard error, in the unit of energy per unit of time."""
    centred = time - time.mean()
    slope = float(centred @ energy / (centred @ centred))
    residuals = energy - energy.mean() - slope * centred
    noise = float(residuals @ residuals) / max(len(time) - 2, 1)
    return slope, math.sqrt(noise * inefficiency(residuals) / float(centred @ centred))


def simulate(atoms: Any, calculator: Any, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one trajectory, and return its drift and what is drawn."""
    settings = MDSettings(
        "nve",
        temperature=options.temperature,
        timestep=options.timestep,
        steps=round(1000 * options.time / options.timestep),
        every=options.every,
        seed=seed,
        max_spread=math.inf,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = run_md(atoms, calculator, folder, settings)
        log = {name: np.array(values) for name, values in read_log(result.folder / "log.csv").items()}
    energy = 1000 * (log["total_eV"] - log["total_eV"][0]) / len(atoms)  # meV/atom
    slope, error = drift(log["time_ps"] / 1000, energy)
    print(f"seed {seed}: {slope:.4g} ± {error:.2g} {UNIT}, {result.ns_per_day:.3g} ns/day", flush=True)
    numbers = {"seed": seed, "slope": slope, "standard_error": error, "fluctuation_meV_per_atom": float(energy.std())}
    numbers |= {"mean_temperature_K": float(log["temperature_K"].mean()), "ns_per_day": result.ns_per_day}
    return {"numbers": numbers, "time": log["time_ps"], "energy": energy}


def draw(runs: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the total energy per atom over time: means of a hundredth of the run each, and the straight lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, run in enumerate(runs):
        n, time, energy = run["numbers"], run["time"], run["energy"]
        label = f"seed {n['seed']}: {n['slope']:.2g} ± {n['standard_error']:.1g} {UNIT}"
        length = max(1, len(time) // 100)
        count = len(time) // length
        means = [x[: count * length].reshape(count, length).mean(axis=1) for x in (time, energy)]
        axes.plot(*means, ".", ms=3, color=f"C{number}")
        line = energy.mean() + n["slope"] / 1000 * (time - time.mean())
        axes.plot(time, line, lw=1.4, color=f"C{number}", label=label)
    axes.set(xlabel="time (ps)", ylabel="total energy from its start (meV/atom)", title=title)
    axes.set_ylim(axes.get_ylim()[0], axes.get_ylim()[1] + 0.35 * np.diff(axes.get_ylim())[0])
    axes.legend(fontsize="small", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(options: argparse.Namespace) -> None:
    start = load_structure("ethanol") if options.structure is None else read_one(options.structure, options.index)
    calculator = EquiformerCalculator(options.run, dtype=options.dtype)
    relaxed = relax(start, calculator, fmax=0.02, steps=500)
    runs = [simulate(relaxed.atoms, calculator, seed, options) for seed in range(options.seeds)]
    name = options.name or options.run.resolve().name
    told = ("time", "timestep", "temperature", "every", "seeds", "dtype")
    results = {
        "unit": UNIT,
        "structure": start.get_chemical_formula(),
        "atoms": len(start),
        "relaxed": relaxed.converged,
        "settings": {key: getattr(options, key) for key in told} | {"units": {"time": "ps", "timestep": "fs"}},
        "runs": [run["numbers"] for run in runs],
        "hardware": hardware(),
    }
    path = options.out / "results" / f"nve_drift-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    figure = options.out / "figures" / f"nve_drift-{name}.png"
    draw(runs, figure, f"{results['structure']}, NVE, {options.timestep:g} fs, {options.dtype}")
    print(f"→ {path}, {figure}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, or its model.pt")
    parser.add_argument("structure", nargs="?", type=Path, help="file to start from; without it ethanol")
    parser.add_argument("--index", type=int, help="of the structure, if the file holds several")
    parser.add_argument("--time", type=float, default=10.0, help="of each trajectory in ps")
    parser.add_argument("--timestep", type=float, default=0.25, help="in fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="of the first velocities in K")
    parser.add_argument("--seeds", type=int, default=3, help="number of trajectories")
    parser.add_argument("--every", type=int, default=4, help="steps between energies")
    parser.add_argument("--dtype", default="float64", choices=("float64", "float32"))
    parser.add_argument("--name", help="of the results; without it that of the run")
    parser.add_argument("--out", type=Path, default=HERE, help="folder with results/ and figures/")
    main(parser.parse_args())
