"""Molecular dynamics in a folder: frames, log, figure, and a state from which a killed run goes on."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..training.whole_files import whole_file
from .calculator import EquiformerCalculator
from .dynamics import MDSettings, make_dynamics, set_dynamics_state, start_velocities, temperature
from .figure import check_matplotlib, plot_log
from .recording import LOG, RESTART, STOPPED, Recorder, force_spread, frame_text, observe, read_restart

Progress = Callable[[int, int], Any]
SAVE_SECONDS = 5.0  #: time between two restart files, unless told otherwise
FIGURE = "md.png"


class SimulationStopped(RuntimeError):
    """A run was ended since what went on in it makes no sense; its folder holds what was before."""


@dataclass(frozen=True)
class MDResult:
    """A run that reached its end.

    Args:
        folder: with trajectory, log, figure and restart file.
        atoms: the last structure, with velocities and calculator.
        steps: of the whole run.
        ns_per_day: simulated time per time of the last call, in ns per day; NaN where it had no step to do.
    """

    folder: Path
    atoms: Any
    steps: int
    ns_per_day: float


def run_md(
    atoms: Any,
    calculator: EquiformerCalculator,
    folder: str | Path,
    settings: MDSettings,
    *,
    model: Any = None,
    save_seconds: float = SAVE_SECONDS,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics with ASE's integrators and write all of it to a new folder.

    The folder holds `trajectory.xyz` (extended XYZ: positions, momenta, energies and forces; step, time and
    temperature beside), `log.csv`, `md.png` (energies and temperature over time) and `restart.json`, from which
    `resume_md` goes on: with "nve" and "nvt" and "npt" alike, on the same machine and with the same number of
    threads, to the last bit as if nothing had happened.

    Args:
        atoms: the structure, left as it is; constraints are kept.
        calculator: of energies and forces.
        folder: new or empty.
        settings: see `MDSettings`.
        model: what tells the model, plain values that the restart file keeps for the caller of `resume_md`.
        save_seconds: time between two restart files in s; 0 writes one with each frame.
        progress: called with the steps done and in all.

    Raises:
        ValueError: if the folder holds anything, or the structure and the settings do not go together.
        SimulationStopped: if temperature or the spread of a committee exceed their limits, numbers are not finite, the
            calculator refuses a structure (atoms collide), or no atom has a neighbour any more. Trajectory and restart
            file end before, and the structure is in `stopped.xyz`.

    Example:
        >>> import tempfile
        >>> from ase.build import molecule
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> calculator = EquiformerCalculator(EnergyForces(Equiformer.from_preset("small")), elements=(1, 8))
        >>> settings = MDSettings("nve", temperature=100.0, timestep=0.1, steps=4, every=2)
        >>> result = run_md(molecule("H2O"), calculator, tempfile.mkdtemp(), settings)
        >>> sorted(path.name for path in result.folder.iterdir())
        ['log.csv', 'md.png', 'restart.json', 'trajectory.xyz']
    """
    folder = Path(folder)
    check_matplotlib()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already, expected a new or empty folder, or to resume the run in it")
    atoms, rng = atoms.copy(), np.random.default_rng(settings.seed)
    if len(atoms) == 0:
        raise ValueError("expected a structure with atoms, got none")
    atoms.calc = calculator
    start_velocities(atoms, settings, rng)
    limits = _with_limit(settings, atoms)
    dynamics = make_dynamics(atoms, settings, rng)
    atoms.get_forces()  # structures that the model does not know are refused before there is a folder
    folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(folder, {})
    run = _Run(atoms, dynamics, rng, limits, model, recorder, folder, save_seconds, progress)
    return run.go()


def resume_md(
    folder: str | Path,
    calculator: EquiformerCalculator,
    *,
    steps: int | None = None,
    max_temperature: float | None = None,
    max_spread: float | None = None,
    save_seconds: float = SAVE_SECONDS,
    progress: Progress | None = None,
) -> MDResult:
    """Go on with a run from its last restart file, after it was killed or stopped, or to make it longer.

    Frames and lines of the log beyond the restart file are cut off; they are made again.

    Args:
        folder: of the run.
        calculator: with the same model.
        steps: of the whole run; None: as before.
        max_temperature, max_spread: other limits, see `MDSettings`; None: as before.
        save_seconds, progress: as in `run_md`.

    Raises:
        FileNotFoundError: if there is no restart file.
        ValueError: if the model gives another energy than that of the run, files are missing, or the run has more
            steps already.
        SimulationStopped: as in `run_md`.
    """
    folder = Path(folder)
    check_matplotlib()
    state = read_restart(folder)
    settings, atoms = state["settings"], state["atoms"]
    changes = {"steps": steps, "max_temperature": max_temperature, "max_spread": max_spread}
    settings = dataclasses.replace(settings, **{k: v for k, v in changes.items() if v is not None})
    if settings.steps < state["step"]:
        raise ValueError(
            f"{folder} holds {state['step']} steps already, expected at least as many, got {settings.steps}"
        )
    rng = np.random.default_rng()
    rng.bit_generator.state = state["random"]
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    if not abs(energy - state["energy"]) <= 1e-4 * len(atoms):
        raise ValueError(
            f"{folder / RESTART} holds a structure of {state['energy']:.6f} eV, to which the model gives {energy:.6f} "
            "eV: expected the model of the run"
        )
    dynamics = make_dynamics(atoms, settings, rng)
    set_dynamics_state(dynamics, state["dynamics"])
    dynamics.nsteps = state["step"]
    recorder = Recorder(folder, state["lengths"])
    run = _Run(atoms, dynamics, rng, settings, state["model"], recorder, folder, save_seconds, progress)
    return run.go()


def _with_limit(settings: MDSettings, atoms: Any) -> MDSettings:
    """Return settings that say how hot is too hot, for all of the run."""
    start = temperature(atoms)
    if settings.max_temperature is not None:
        if not start <= settings.max_temperature:
            limit = f"{settings.max_temperature:g} K"
            raise ValueError(f"max_temperature: expected more than the {start:.0f} K of the start, got {limit}")
        return settings
    return dataclasses.replace(settings, max_temperature=10 * (settings.temperature or start))


@dataclass
class _Run:
    """A run under way."""

    atoms: Any
    dynamics: Any
    rng: np.random.Generator
    settings: MDSettings
    model: Any
    recorder: Recorder
    folder: Path
    save_seconds: float
    progress: Progress | None

    def go(self) -> MDResult:
        """Take all steps that are left, and write."""
        total, first = self.settings.steps, self.dynamics.nsteps
        self._bound = self.atoms.calc.neighbors.num_edges > 0  # forces were computed before
        began = self._saved = time.monotonic()
        (self.folder / STOPPED).unlink(missing_ok=True)
        try:
            for _ in self._steps(total - first):
                self._after_step(self.dynamics.nsteps, first, total)
        finally:
            self.recorder.close()
        seconds = time.monotonic() - began
        plot_log(self.folder / LOG, self.folder / FIGURE)
        speed = (total - first) * self.settings.timestep * 1e-6 * 86400 / seconds if total > first else float("nan")
        return MDResult(self.folder, self.atoms, total, speed)

    def _steps(self, count: int) -> Any:
        try:
            yield from self.dynamics.irun(count)
        except ValueError as error:  # from the calculator, which refuses the structure
            raise self._stop(str(error)) from error

    def _after_step(self, step: int, first: int, total: int) -> None:
        self._check(step)
        if (step > first or self.recorder.empty) and step % self.settings.every == 0:
            self.recorder.write(self.atoms, observe(self.atoms, self.dynamics, step, self.settings.timestep))
        due = step % self.settings.every == 0 and time.monotonic() - self._saved >= self.save_seconds
        if step in (0, total) or due:
            self.recorder.save(self.atoms, self.dynamics, self.rng, self.settings, self.model)
            self._saved = time.monotonic()
        if self.progress is not None:
            self.progress(step, total)

    def _check(self, step: int) -> None:
        """Raise `SimulationStopped` where numbers are not finite or beyond the limits."""
        results, limits = self.atoms.calc.results, self.settings
        hot, spread = temperature(self.atoms), force_spread(results)
        assert limits.max_temperature is not None  # set with the run
        if not (np.isfinite(results["energy"]) and np.isfinite(results["forces"]).all() and np.isfinite(hot)):
            raise self._stop("energy, forces or velocities are not finite")
        if hot > limits.max_temperature:
            raise self._stop(f"the temperature is {hot:.0f} K, above max_temperature={limits.max_temperature:g} K")
        if self._bound and self.atoms.calc.neighbors.num_edges == 0:
            raise self._stop(f"no two atoms are nearer than the cutoff of {self.atoms.calc.cutoff:g} Å any more")
        if spread > limits.max_spread:
            raise self._stop(
                f"the committee's forces are {spread:.3g} eV/Å apart, above max_spread={limits.max_spread:g} eV/Å"
            )

    def _stop(self, reason: str) -> SimulationStopped:
        step, timestep = self.dynamics.nsteps, self.settings.timestep
        with whole_file(self.folder / STOPPED) as part:
            part.write_text(self._last_structure(step))
        if (self.folder / LOG).stat().st_size:
            plot_log(self.folder / LOG, self.folder / FIGURE)
        return SimulationStopped(
            f"stopped at step {step} ({step * timestep / 1000:g} ps): {reason}; the structure is in "
            f"{self.folder / STOPPED}, trajectory and {RESTART} end before"
        )

    def _last_structure(self, step: int) -> str:
        """The structure that ended the run, with its results where the calculator gave some."""
        import io

        from ase.io.extxyz import write_xyz

        calc = self.atoms.calc
        if calc.results and not calc.check_state(self.atoms):
            row = {
                "step": step,
                "time_ps": step * self.settings.timestep / 1000,
                "temperature_K": temperature(self.atoms),
            }
            return frame_text(self.atoms, row)
        plain, text = self.atoms.copy(), io.StringIO()
        plain.set_constraint()
        plain.info = {"step": step}
        write_xyz(text, [plain])
        return text.getvalue()
