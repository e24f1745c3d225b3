"""How potentials behave where the surroundings of every atom are symmetric: perfect silicon, a little displaced.

    python benchmarks/symmetric.py runs/periodic_Si_seed0_stress1000_4m runs/periodic_Si_seed0_stress1000_4m_norm-layer

One of the two atoms of the primitive cell of diamond moves along x, and its images with it: the optical phonon at Γ,
whose frequency follows from force and displacement (finite differences in both directions). It must not depend on the
displacement as long as that is small; Raman spectra have it at 15.6 THz (Phys. Rev. 155, 712). And a cell of eight
atoms, all displaced at random by 0.03 Å, relaxes. Trained models are those of `periodic.py`. Writes
results/symmetric_Si.json; `python benchmarks/tables.py` makes the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.units import _amu, _e

from pyg_equiformer import EquiformerCalculator
from pyg_equiformer.checkpoints import load_model
from pyg_equiformer.simulation import relax
from pyg_equiformer.training.hardware import hardware

HERE = Path(__file__).parent
LATTICE = 5.469  #: of silicon with PBE, in Å
DISPLACEMENTS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1)  #: in Å


def frequency(calculator: EquiformerCalculator, displacement: float) -> float:
    """Return the frequency of the optical phonon at Γ in THz; negative where the structure is no minimum."""
    forces = []
    for sign in (1, -1):
        atoms = bulk("Si", a=LATTICE)
        atoms.positions[0, 0] += sign * displacement
        atoms.calc = calculator
        forces.append(atoms.get_forces()[0, 0])
    stiffness = -(forces[0] - forces[1]) / (2 * displacement) * _e * 1e20  # N/m, of the distance of the two sublattices
    reduced_mass = bulk("Si").get_masses()[0] / 2 * _amu
    return float(np.sign(stiffness) * np.sqrt(abs(stiffness) / reduced_mass) / (2 * np.pi) * 1e-12)


def measure(run: Path, steps: int) -> dict[str, Any]:
    """Return what one potential gives."""
    calculator = EquiformerCalculator(run, dtype="float64")
    atoms = bulk("Si", a=LATTICE, cubic=True)
    atoms.rattle(0.03, seed=0)
    found = relax(atoms, calculator, steps=steps)
    return {
        "run": run.name,
        "norm": load_model(run / "model.pt").config.norm,
        "frequencies_THz": [frequency(calculator, d) for d in DISPLACEMENTS],
        "relaxation": {"converged": found.converged, "steps": found.steps, "fmax_eV_per_A": found.fmax},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of `periodic.py Si`")
    parser.add_argument("--steps", type=int, default=200, help="most steps of the relaxation")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "symmetric_Si.json")
    args = parser.parse_args()
    facts = {
        "symmetric": [measure(run, args.steps) for run in args.runs],
        "displacements_A": DISPLACEMENTS,
        "lattice_constant_A": LATTICE,
        "hardware": hardware(),
    }
    args.out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(facts["symmetric"], indent=1), "→", args.out)


if __name__ == "__main__":
    main()
