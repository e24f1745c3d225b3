"""Relaxation of structures, and of their cells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from .calculator import EquiformerCalculator

OptimizerKind = Literal["lbfgs", "bfgs", "fire"]


@dataclass(frozen=True)
class Relaxed:
    """A structure after a relaxation.

    Args:
        atoms: with the calculator's results.
        converged: whether all forces are below the limit.
        steps: of the optimizer.
        fmax: largest force on an atom in eV/Å (with a cell: or on the cell, as ASE's `FrechetCellFilter` counts it).
    """

    atoms: Any
    converged: bool
    steps: int
    fmax: float


def relax(
    atoms: Any,
    calculator: EquiformerCalculator,
    *,
    optimizer: OptimizerKind = "lbfgs",
    fmax: float = 0.01,
    steps: int = 500,
    cell: bool = False,
    pressure: float = 0.0,
    progress: Callable[[int, float], Any] | None = None,
) -> Relaxed:
    """Move atoms downhill until no force is larger than `fmax`, with ASE's optimizers.

    Args:
        atoms: the structure, left as it is; constraints are kept.
        calculator: of energies and forces.
        optimizer: "lbfgs", "bfgs" or "fire".
        fmax: in eV/Å.
        steps: at most.
        cell: relax the cell too.
        pressure: outer pressure on the cell in GPa; with `cell` only.
        progress: called with the steps so far and the largest force in eV/Å.

    Raises:
        ValueError: if a setting is out of range, the cell of a structure that does not repeat in all directions is to
            be relaxed, or the calculator refuses a structure on the way.

    Example:
        >>> from ase.build import molecule
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> calculator = EquiformerCalculator(EnergyForces(Equiformer.from_preset("small")), elements=(1, 8))
        >>> relax(molecule("H2O"), calculator, steps=2).steps <= 2
        True
    """
    from ase import optimize
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.filters import FrechetCellFilter
    from ase.units import GPa

    if optimizer not in get_args(OptimizerKind):
        raise ValueError(f"optimizer: expected one of {get_args(OptimizerKind)}, got {optimizer!r}")
    if not (np.isfinite(fmax) and fmax > 0):
        raise ValueError(f"fmax: expected a positive number of eV/Å, got {fmax!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: expected a whole number, at least 1, got {steps!r}")
    if cell and not atoms.pbc.all():
        raise ValueError(f"cell: only one that repeats in all three directions relaxes, got pbc {atoms.pbc.tolist()}")
    if pressure and not cell:
        raise ValueError(f"pressure: works on a cell that relaxes, got {pressure!r} GPa without it")
    if len(atoms) == 0:
        raise ValueError("expected a structure with atoms, got none")
    relaxed = atoms.copy()
    relaxed.calc = calculator
    moved = FrechetCellFilter(relaxed, scalar_pressure=pressure * GPa) if cell else relaxed
    kind = {"lbfgs": optimize.LBFGS, "bfgs": optimize.BFGS, "fire": optimize.FIRE}[optimizer]
    search = kind(moved, logfile=None)

    def largest() -> float:
        return float(np.linalg.norm(moved.get_forces(), axis=1).max())

    if progress is not None:
        search.attach(lambda: progress(search.nsteps, largest()))
    converged = bool(search.run(fmax=fmax, steps=steps))
    results, left = dict(calculator.results), largest()
    known = {name: value for name, value in results.items() if name in calculator.implemented_properties}
    relaxed.calc = SinglePointCalculator(relaxed, **known)
    if "forces_std" in results:
        relaxed.info["energy_std"], relaxed.arrays["forces_std"] = results["energy_std"], results["forces_std"]
    return Relaxed(relaxed, converged, search.nsteps, left)
