"""Settings of a molecular dynamics run, and the integrator of ASE that they ask for."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

EnsembleKind = Literal["nve", "nvt", "npt"]


@dataclass(frozen=True)
class MDSettings:
    """What a molecular dynamics run does.

    Args:
        ensemble: "nve", velocity Verlet; "nvt", a Langevin thermostat; or "npt", the barostat and thermostat chains of
            Martyna, Tobias and Klein (doi.org/10.1063/1.467468), which scale the cell and keep its shape.
        temperature: in K, of the thermostat and the first velocities. None, with "nve" only: velocities are those of
            the structure.
        pressure: in GPa, with "npt" only; None: 0.
        timestep: in fs.
        steps: of the whole run.
        every: steps between two frames of the trajectory and lines of the log.
        seed: of first velocities and thermostat.
        damping: time of the thermostat in fs.
        pressure_damping: time of the barostat in fs.
        max_temperature: in K, above which the run ends. None: ten times that of the start.
        max_spread: in eV/Å, largest standard deviation of the force on an atom (its norm) over the members of a
            committee, above which the run ends.

    Raises:
        ValueError: if a number is out of range, or a setting is not one of the ensemble's.

    Example:
        >>> MDSettings("nvt", temperature=300.0, steps=2000).duration
        1.0
    """

    ensemble: EnsembleKind = "nve"
    temperature: float | None = None
    pressure: float | None = None
    timestep: float = 0.5
    steps: int = 2000
    every: int = 20
    seed: int = 0
    damping: float = 100.0
    pressure_damping: float = 1000.0
    max_temperature: float | None = None
    max_spread: float = 1.0

    def __post_init__(self) -> None:
        if self.ensemble not in get_args(EnsembleKind):
            raise ValueError(f"ensemble: expected one of {get_args(EnsembleKind)}, got {self.ensemble!r}")
        for name, unit in (("timestep", "fs"), ("damping", "fs"), ("pressure_damping", "fs")):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name}: expected a positive number of {unit}, got {value!r}")
        for name, least in (("steps", 1), ("every", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}: expected a whole number, at least {least}, got {value!r}")
        if self.temperature is None and self.ensemble != "nve":
            raise ValueError(f"temperature: expected one in K for {self.ensemble}, got none")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: expected a positive number of K, got {self.temperature!r}")
        if self.pressure is not None and self.ensemble != "npt":
            raise ValueError(f"pressure: {self.ensemble} has none, got {self.pressure!r} GPa; expected ensemble npt")
        if self.pressure is not None and not math.isfinite(self.pressure):
            raise ValueError(f"pressure: expected a finite number of GPa, got {self.pressure!r}")
        for name in ("max_temperature", "max_spread"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value!r}")

    @property
    def duration(self) -> float:
        """Length of the run in ps."""
        return self.steps * self.timestep / 1000


def degrees_of_freedom(atoms: Any) -> int:
    """Return 3N less what is constrained; where nothing is, less the centre of mass, which rests.

    Example:
        >>> from ase.build import molecule
        >>> degrees_of_freedom(molecule("H2O"))
        6
    """
    degrees = int(atoms.get_number_of_degrees_of_freedom())
    return degrees - 3 if not atoms.constraints and len(atoms) > 1 else degrees


def temperature(atoms: Any) -> float:
    """Return the temperature of a structure's velocities in K, 2 E_kin / (k_B · degrees of freedom)."""
    from ase.units import kB

    degrees = degrees_of_freedom(atoms)
    return 2 * float(atoms.get_kinetic_energy()) / (kB * degrees) if degrees > 0 else 0.0


def start_velocities(atoms: Any, settings: MDSettings, rng: np.random.Generator) -> None:
    """Draw velocities at exactly the temperature, the centre of mass at rest; or check those that are there.

    Raises:
        ValueError: if velocities are to be those of the structure, and it has none.
    """
    from ase.md.velocitydistribution import Stationary
    from ase.units import kB

    if settings.temperature is None:
        if not np.isfinite(atoms.get_momenta()).all() or not atoms.get_momenta().any():
            raise ValueError("temperature: expected one in K, as the structure has no velocities to start with")
        if not atoms.constraints and len(atoms) > 1:
            Stationary(atoms, preserve_temperature=False)
        return
    spread = np.sqrt(kB * settings.temperature * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))  # Maxwell-Boltzmann
    if not atoms.constraints and len(atoms) > 1:
        Stationary(atoms, preserve_temperature=False)
    if (drawn := temperature(atoms)) > 0:
        atoms.set_momenta(atoms.get_momenta() * math.sqrt(settings.temperature / drawn))


def make_dynamics(atoms: Any, settings: MDSettings, rng: np.random.Generator) -> Any:
    """Return the dynamics of ASE for a structure that has its calculator and velocities.

    Raises:
        ValueError: for "npt" without a cell that repeats in all directions, or with constraints.
    """
    from ase.constraints import FixCom
    from ase.md.langevin import Langevin
    from ase.md.nose_hoover_chain import IsotropicMTKNPT
    from ase.md.verlet import VelocityVerlet
    from ase.units import GPa, fs

    step = settings.timestep * fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, step)
    assert settings.temperature is not None  # checked by the settings
    if settings.ensemble == "nvt":
        if not atoms.constraints and len(atoms) > 1:
            atoms.set_constraint(FixCom())
        friction = 1 / (settings.damping * fs)
        return Langevin(atoms, step, temperature_K=settings.temperature, friction=friction, fixcm=False, rng=rng)
    if not atoms.pbc.all():
        raise ValueError(f"npt needs a cell that repeats in all three directions, got pbc {atoms.pbc.tolist()}")
    if atoms.constraints:
        raise ValueError(f"npt knows no constraints, got {atoms.constraints}")
    # ASE counts 3N degrees of freedom; the centre of mass rests.
    target = settings.temperature * degrees_of_freedom(atoms) / (3 * len(atoms))
    damping: Any = {"tdamp": settings.damping * fs, "pdamp": settings.pressure_damping * fs}
    return IsotropicMTKNPT(atoms, step, temperature_K=target, pressure_au=(settings.pressure or 0.0) * GPa, **damping)


#: What of the barostat and thermostat chains changes from step to step, by the object that holds it.
_CHAINS = {
    "": ("_eps", "_p_eps", "_volume0", "_cell0"),
    "_thermostat": ("_eta", "_p_eta"),
    "_barostat": ("_xi", "_p_xi"),
}


def dynamics_state(dynamics: Any) -> dict[str, dict[str, Any]]:
    """Return what dynamics know beyond the atoms, as numbers and lists; {} but for "npt"."""
    if not hasattr(dynamics, "_barostat"):
        return {}
    return {
        part: {name: np.asarray(getattr(_part(dynamics, part), name)).tolist() for name in names}
        for part, names in _CHAINS.items()
    }


def set_dynamics_state(dynamics: Any, state: dict[str, dict[str, Any]]) -> None:
    """Bring new dynamics to a state of `dynamics_state`."""
    for part, values in state.items():
        for name, value in values.items():
            setattr(_part(dynamics, part), name, np.array(value) if isinstance(value, list) else value)


def _part(dynamics: Any, part: str) -> Any:
    return getattr(dynamics, part) if part else dynamics
