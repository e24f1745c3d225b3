"""What a molecular dynamics run writes: frames, a log, and the state to go on from."""

import csv
import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..training.whole_files import whole_file
from .dynamics import MDSettings, dynamics_state, temperature

TRAJECTORY, LOG, RESTART = "trajectory.xyz", "log.csv", "restart.json"
STOPPED = "stopped.xyz"  #: the structure at which a run was ended
VERSION = 1  #: of the restart file


def observe(atoms: Any, dynamics: Any, step: int, timestep: float) -> dict[str, float]:
    """Return what the log tells of a step: energies in eV, temperature in K, with a cell also pressure and volume."""
    from ase.units import GPa

    results, kinetic = atoms.calc.results, float(atoms.get_kinetic_energy())
    row = {
        "step": step,
        "time_ps": step * timestep / 1000,
        "potential_eV": results["energy"],
        "kinetic_eV": kinetic,
        "total_eV": results["energy"] + kinetic,
        "temperature_K": temperature(atoms),
    }
    if hasattr(dynamics, "get_conserved_energy"):
        row["conserved_eV"] = dynamics.get_conserved_energy()
    if "stress" in results:
        stress = atoms.get_stress(voigt=False, include_ideal_gas=True)
        row["pressure_GPa"] = -float(np.trace(stress)) / 3 / GPa
        row["volume_A3"] = float(atoms.get_volume())
    if "forces_std" in results:
        row["energy_std_eV"] = results["energy_std"]
        row["forces_std_max_eV_per_A"] = force_spread(results)
    return row


def force_spread(results: dict[str, Any]) -> float:
    """Return the largest norm over atoms of the standard deviation of the forces in eV/Å; 0 without a committee."""
    if "forces_std" not in results:
        return 0.0
    return float(np.linalg.norm(results["forces_std"], axis=1).max(initial=0.0))


def frame_text(atoms: Any, row: dict[str, float]) -> str:
    """Return a frame of extended XYZ: positions, momenta, energies, forces and, of committees, their spread."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_xyz

    results, frame = atoms.calc.results, atoms.copy()
    frame.set_constraint()
    known = [name for name in ("energy", "forces", "energies", "stress") if name in results]
    frame.calc = SinglePointCalculator(frame, **{name: results[name] for name in known})
    frame.info = {"step": int(row["step"]), "time_ps": row["time_ps"], "temperature_K": row["temperature_K"]}
    if "forces_std" in results:
        frame.info["energy_std"] = results["energy_std"]
        frame.arrays["forces_std"] = results["forces_std"]
    text = io.StringIO()
    write_xyz(text, [frame])
    return text.getvalue()


class Recorder:
    """Appends to the trajectory and log of a run's folder, and replaces its restart file.

    The restart file tells how long the other two are; what they hold beyond that, as after a kill -9, is cut off when
    the run goes on.

    Args:
        folder: of the run.
        lengths: bytes of trajectory and log to keep; {} begins new ones.
    """

    def __init__(self, folder: Path, lengths: dict[str, int]) -> None:
        self.folder = folder
        self.files = {}
        for name in (TRAJECTORY, LOG):
            path = folder / name
            if lengths and (not path.exists() or path.stat().st_size < lengths[name]):
                raise ValueError(f"{path} is shorter than {folder / RESTART} tells, expected it as the run left it")
            self.files[name] = path.open("r+b" if lengths else "wb", buffering=0)
            self.files[name].truncate(lengths.get(name, 0))
            self.files[name].seek(0, os.SEEK_END)

    @property
    def empty(self) -> bool:
        """Whether no frame was written yet."""
        return self.files[LOG].tell() == 0

    def write(self, atoms: Any, row: dict[str, float]) -> None:
        """Append a frame and a line of the log, each in one piece."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self.empty:
            writer.writerow(row)
        writer.writerow(value if isinstance(value, int) else f"{value:.10g}" for value in row.values())
        self._append(TRAJECTORY, frame_text(atoms, row))
        self._append(LOG, text.getvalue())

    def _append(self, name: str, text: str) -> None:
        data = memoryview(text.encode())
        while data:
            data = data[self.files[name].write(data) :]

    def save(self, atoms: Any, dynamics: Any, rng: np.random.Generator, settings: MDSettings, model: Any) -> None:
        """Replace the restart file, whole or not at all, by one for the present state."""
        for file in self.files.values():
            os.fsync(file.fileno())
        state = {
            "version": VERSION,
            "model": model,
            "settings": dataclasses.asdict(settings),
            "step": dynamics.nsteps,
            "energy": atoms.calc.results["energy"],
            "atoms": atoms_text(atoms),
            "random": rng.bit_generator.state,
            "dynamics": dynamics_state(dynamics),
            "lengths": {name: file.tell() for name, file in self.files.items()},
        }
        with whole_file(self.folder / RESTART) as part:
            part.write_text(json.dumps(state, indent=1) + "\n")

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()


def atoms_text(atoms: Any) -> str:
    """Return a structure with velocities and constraints as JSON, every number to its last bit."""
    from ase.io.jsonio import encode

    plain = atoms.copy()
    plain.info = {}
    return str(encode(plain))


def read_restart(folder: Path) -> dict[str, Any]:
    """Return the state of a run, its structure as `Atoms` and its settings as `MDSettings`.

    Raises:
        FileNotFoundError: if there is no restart file.
        ValueError: if it is of another kind or version.
    """
    from ase.io.jsonio import decode

    path = folder / RESTART
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}, expected the folder of a molecular dynamics run")
    try:
        state = json.loads(path.read_text())
        version = state["version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no restart file of a molecular dynamics run: {error!r}") from None
    if version > VERSION:
        raise ValueError(f"{path} has version {version}, this package reads up to {VERSION}")
    state["atoms"] = decode(state["atoms"])
    state["settings"] = MDSettings(**state["settings"])
    return dict(state)
