"""Training data without a download: molecular dynamics with the semi-empirical quantum method GFN2-xTB.

Energies in eV, lengths in Å, times in fs, temperatures in K. GFN2-xTB: doi.org/10.1021/acs.jctc.8b01176.
"""

from __future__ import annotations

import gzip
import io
import lzma
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .molecules import load_structure, require

if TYPE_CHECKING:
    from ase import Atoms

FRICTION = 0.01  #: coupling to the heat bath in 1/fs: velocities are forgotten in about 100 fs
ACCURACY = 0.01  #: of tblite's self-consistent cycle: forces good to 1e-6 eV/Å for a fifth more time

_SUFFIXES = tuple(name + packing for packing in (".xz", ".gz", "") for name in (".extxyz", ".xyz"))


def sample_trajectory(
    molecule: str,
    frames: int = 1200,
    temperature: float = 500.0,
    *,
    seed: int = 0,
    interval: float = 20.0,
    timestep: float = 0.5,
    equilibration: float = 2000.0,
    charge: int | None = None,
    multiplicity: int | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Iterator[Atoms]:
    """Run Langevin dynamics with GFN2-xTB and yield a frame with energy and forces every `interval`.

    The geometry is relaxed first (BFGS, 0.01 eV/Å, at most 500 steps); velocities start from a
    Maxwell-Boltzmann distribution without net momentum and rotation; the centre of mass stays where it is.
    With one OpenMP thread (OMP_NUM_THREADS=1) the same arguments on the same machine give the same trajectory
    to the last digit; with several, sums are rounded in changing order and trajectories drift apart in time.

    Args:
        molecule: what `load_structure` takes: a file, a name or a SMILES string.
        frames: how many frames to yield.
        temperature: of the heat bath in K.
        seed: of the velocities, the heat bath and the conformer of a SMILES string.
        interval: between frames in fs, a multiple of `timestep`.
        timestep: of the integrator in fs; 0.5 suits molecules with hydrogen.
        equilibration: at the start, in fs, not yielded.
        charge: total charge in units of e; None takes it from the structure.
        multiplicity: 2S + 1; None takes it from the structure, or the lowest possible.
        progress: called with the dynamics steps done and in total, equilibration included.

    Yields:
        ASE atoms whose calculator holds the energy in eV and the forces in eV/Å, and whose `info` holds
        `time_fs`, `charge` and `multiplicity`.

    Raises:
        ValueError: for a molecule or settings that make no sense, before any work.
        ImportError: if tblite or ASE is not installed.
        RuntimeError: if the quantum calculation fails on the way.

    Example:
        >>> water = next(sample_trajectory("water", frames=1, equilibration=0))
        >>> water.get_forces().shape
        (3, 3)
    """
    require("ase", "tblite")
    if not isinstance(frames, int) or frames < 1:
        raise ValueError(f"frames: expected a positive whole number, got {frames!r}")
    if not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise ValueError(f"seed: expected a whole number from 0 to 2147483647, got {seed!r}")
    for label, value, unit in (("temperature", temperature, "K"), ("timestep", timestep, "fs")):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{label}: expected a positive number of {unit}, got {value!r}")
    stride = _whole_steps("interval", interval, timestep)
    waiting = _whole_steps("equilibration", equilibration, timestep)
    if stride < 1:
        raise ValueError(f"interval: expected at least one timestep ({timestep} fs), got {interval!r}")
    atoms = load_structure(molecule, seed=seed)
    charge, multiplicity = _electrons(atoms, charge, multiplicity)
    state = {"charge": charge, "multiplicity": multiplicity}
    report = progress or (lambda done, total: None)
    return _run(atoms, frames, temperature, seed, stride, waiting, timestep, state, report)


def _run(
    atoms: Atoms,
    frames: int,
    temperature: float,
    seed: int,
    stride: int,
    waiting: int,
    timestep: float,
    state: dict[str, Any],
    progress: Callable[[int, int], Any],
) -> Iterator[Atoms]:
    import numpy as np
    from ase import units
    from ase.calculators.calculator import CalculationFailed, InputError
    from ase.constraints import FixCom
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import Stationary, ZeroRotation
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    total, done = waiting + frames * stride, 0
    rng = np.random.default_rng(seed)
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=ACCURACY, verbosity=0, **state)
    try:
        progress(0, total)
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
        spread = np.sqrt(units.kB * temperature * atoms.get_masses())[:, None]
        atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))  # Maxwell-Boltzmann
        Stationary(atoms)
        with np.errstate(divide="ignore", invalid="ignore"):  # linear molecules
            ZeroRotation(atoms)
        atoms.set_constraint(FixCom())
        friction = FRICTION / units.fs
        dynamics = Langevin(
            atoms, timestep * units.fs, temperature_K=temperature, friction=friction, fixcm=False, rng=rng
        )
        while done < total:
            steps = min(stride, waiting - done) if done < waiting else stride
            dynamics.run(steps)
            done += steps
            progress(done, total)
            if done > waiting:
                yield _frame(atoms, (done - waiting) * timestep, state)
    except (CalculationFailed, InputError) as error:
        raise RuntimeError(
            f"GFN2-xTB failed for {atoms.get_chemical_formula()} (charge {state['charge']}, multiplicity "
            f"{state['multiplicity']}) after {done * timestep:g} fs of dynamics: {error}. "
            "A smaller timestep, a lower temperature or another charge or multiplicity may help."
        ) from error


def _frame(atoms: Atoms, time: float, state: dict[str, int]) -> Atoms:
    import numpy as np
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    # From the results and not get_forces(), which would project out the constraint on the centre of mass.
    energy, forces = atoms.calc.results["energy"], atoms.calc.results["forces"].copy()
    if not (math.isfinite(energy) and np.isfinite(forces).all()):
        raise RuntimeError(f"energy or forces are not finite after {time:g} fs: try a smaller timestep")
    frame = Atoms(atoms.numbers, atoms.positions, info={"time_fs": time, **state})
    frame.calc = SinglePointCalculator(frame, energy=float(energy), forces=forces)
    return frame


def _whole_steps(label: str, time: float, timestep: float) -> int:
    steps = time / timestep if math.isfinite(time) else math.nan
    if not (steps >= 0 and abs(steps - round(steps)) < 1e-6):
        raise ValueError(f"{label}: expected a whole number of timesteps of {timestep} fs, got {time!r} fs")
    return round(steps)


def _electrons(atoms: Atoms, charge: int | None, multiplicity: int | None) -> tuple[int, int]:
    """Total charge and spin multiplicity, from the structure where not given."""
    if charge is None:
        charge = round(atoms.get_initial_charges().sum())
    electrons = int(atoms.numbers.sum()) - charge
    if electrons < 1:
        formula = atoms.get_chemical_formula()
        raise ValueError(f"charge: expected at least one electron to be left to {formula}, got {charge}")
    if multiplicity is None:
        unpaired = round(abs(atoms.get_initial_magnetic_moments().sum()))
        multiplicity = (unpaired or electrons % 2) + 1
    if not 1 <= multiplicity <= electrons + 1 or (electrons + multiplicity) % 2 == 0:
        raise ValueError(
            f"charge {charge} leaves {electrons} electrons, which cannot have multiplicity {multiplicity}; "
            f"expected {'an even' if electrons % 2 else 'an odd'} multiplicity"
        )
    return charge, multiplicity


def _split_suffix(path: Path) -> tuple[str, str]:
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)], suffix
    raise ValueError(f"{path}: expected a file name that ends in one of {', '.join(_SUFFIXES)}")


def partial_path(path: str | Path) -> Path:
    """Return where `write_trajectory` keeps the frames of a run that is not finished.

    Args:
        path: of the finished trajectory.

    Raises:
        ValueError: if the suffix is not one that `write_trajectory` takes.

    Example:
        >>> partial_path("runs/ethanol.xyz.xz").name
        'ethanol.partial.xyz'
    """
    path = Path(path)
    return path.with_name(_split_suffix(path)[0] + ".partial.xyz")


def write_trajectory(path: str | Path, frames: Iterable[Atoms]) -> int:
    """Write frames as extended XYZ, one by one as they come, and return how many they were.

    Positions and forces have eight decimals, energies all digits. Until the last frame is in, they are
    kept as plain text in `partial_path(path)`: an interrupted run keeps its frames (until the next run to
    the same path), and `path` is never half-written.

    Args:
        path: ends in .xyz or .extxyz, followed by .xz or .gz to compress.
        frames: ASE atoms with energy in eV and forces in eV/Å, such as `sample_trajectory` yields.

    Raises:
        ValueError: if the suffix is another, or if there are no frames.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     frames = sample_trajectory("water", frames=2, equilibration=0)
        ...     write_trajectory(f"{folder}/water.xyz.xz", frames)
        2
    """
    require("ase")
    from ase.io.extxyz import write_xyz

    path, partial, count = Path(path), partial_path(path), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", encoding="utf-8") as file:
        for frame in frames:
            text = io.StringIO()
            write_xyz(text, [frame])
            file.write(text.getvalue())
            file.flush()
            count += 1
    if not count:
        partial.unlink()
        raise ValueError(f"{path}: no frames to write, expected at least one")
    compress = {".xz": _xz, ".gz": _gzip}.get(_split_suffix(path)[1][-3:])
    if compress:
        packed = partial.with_name(partial.name + ".packed")
        packed.write_bytes(compress(partial.read_bytes()))
        os.replace(packed, path)
        partial.unlink()
    else:
        os.replace(partial, path)
    return count


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # no time stamp: the same frames give the same file
