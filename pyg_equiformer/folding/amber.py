"""Proteins in the Amber force field of OpenMM, their heavy atoms held by springs."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_atoms import UNKNOWN
from ..units import KJ_PER_MOL
from .amber_atoms import CPU_SETTINGS, openmm_topology, thread_settings, with_hydrogens

Solvent = Literal["obc", "none"]
PlatformName = Literal["auto", "CPU", "CUDA", "Reference"]

#: Amber ff99SB with the generalised Born model of Onufriev, Bashford and Case (Proteins 55, 383 (2004)).
FORCE_FIELD = {"obc": ("amber99sb.xml", "amber99_obc.xml"), "none": ("amber99sb.xml",)}
TOLERANCE = 10.0  #: kJ/mol/nm, root mean square force at which a minimisation ends: OpenMM's default
#: Å³ that N, C and CB span around Cα at least, and eV/Å⁶ of what they span less; L amino acids have 2.5 Å³.
LEAST_VOLUME, HANDEDNESS = 1.5, 1.0
_VOLUME = """0.5*k*min(0, volume-least)^2;
volume=ax*(by*cz-bz*cy)+ay*(bz*cx-bx*cz)+az*(bx*cy-by*cx);
ax=x1-x4; ay=y1-y4; az=z1-z4; bx=x2-x4; by=y2-y4; bz=z2-z4; cx=x3-x4; cy=y3-y4; cz=z3-z4"""
_NEEDS = 'relaxing structures needs OpenMM: pip install "pyg_equiformer[relax]"'
_FIELD, _RESTRAINTS, _SOLVENT = range(3)  # groups of forces
_PLATFORMS = {
    "CUDA": {"Precision": "mixed", "DeterministicForces": "true"},
    "CPU": CPU_SETTINGS,
    "Reference": {},
}


def require_openmm() -> Any:
    """Return the module `openmm`.

    Raises:
        ImportError: if it is not installed, naming the extra.
    """
    try:
        import openmm
        import openmm.app
    except ImportError as error:
        raise ImportError(_NEEDS) from error
    return openmm


class RestrainedProtein:
    r"""Chains with hydrogens, whose heavy atoms are held where they were given.

    .. math::
        E = E_\text{Amber}(x) + \frac k2 \sum_{a \in \text{held}} |x_a - x_a^0|^2
        + \frac{k_V}2 \sum_\text{residues} \min(0, V - V_0)^2, \quad
        V = (x_N - x_{Cα}) · [(x_C - x_{Cα}) × (x_{Cβ} - x_{Cα})]

    The last term keeps, or gives back, Cα the handedness of L amino acids; where they have it, it is zero.

    Hydrogens are those of pH 7, placed the same way each time. Ends of chains, also those at breaks, are charged: they
    get a second oxygen (OXT). X is alanine, or glycine where it has no CB.

    Args:
        chains: with all heavy atoms, each break of a chain at least two residues from the next.
        bridges: pairs of cysteines that are bonded, as places among the residues of all chains.
        stiffness: k in eV/Å².
        solvent: "obc" (generalised Born) or "none".
        platform: of OpenMM.
        threads: of the CPU platform; None: all cores.

    Raises:
        ImportError: if OpenMM is not installed.
        ValueError: if the platform is not there, or the atoms are none that the force field has.
    """

    def __init__(
        self,
        chains: Sequence[Data],
        bridges: Sequence[tuple[int, int]],
        *,
        stiffness: float,
        solvent: Solvent,
        platform: PlatformName,
        threads: int | None,
    ) -> None:
        self._openmm = require_openmm()
        self._sizes = [len(chain.pos) for chain in chains]
        heavy = openmm_topology(self._openmm, chains, bridges)
        topology, places = with_hydrogens(self._openmm, heavy, threads)
        self._atoms = [a.index for a in topology.atoms() if a.element.symbol != "H" and a.name != "OXT"]
        self._rows = heavy.rows
        self._held = list(zip(self._atoms, places[self._atoms].tolist(), heavy.owners, strict=True))
        system = self._system(topology, solvent)
        names = [a.name for a in topology.atoms()]
        system.addForce(self._handedness([names[a] for a in self._atoms], "".join(c.sequence for c in chains)))
        self._stiffness = stiffness / KJ_PER_MOL * 100  # kJ/mol/nm²
        self._restraints = self._restrain(system)
        self._solvated = solvent == "obc"
        self._context = _context(self._openmm, system, platform, threads)
        self._context.setPositions(places)

    def _system(self, topology: Any, solvent: Solvent) -> Any:
        app = self._openmm.app
        field = app.ForceField(*FORCE_FIELD[solvent])
        system = field.createSystem(topology, nonbondedMethod=app.NoCutoff, removeCMMotion=False)
        for force in system.getForces():
            solvated = isinstance(force, self._openmm.GBSAOBCForce)
            force.setForceGroup(_SOLVENT if solvated else _FIELD)
        return system

    def _restrain(self, system: Any) -> Any:
        force = self._openmm.CustomExternalForce("0.5*k*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
        for name in ("k", "x0", "y0", "z0"):
            force.addPerParticleParameter(name)
        for atom, place, _ in self._held:
            force.addParticle(atom, [self._stiffness, *place])
        force.setForceGroup(_RESTRAINTS)
        system.addForce(force)
        return force

    def _handedness(self, names: list[str], letters: str) -> Any:
        """Force on Cα that are mirrored or nearly so, which Amber alone lets pass; X may be of either kind."""
        force = self._openmm.CustomCompoundBondForce(4, _VOLUME)
        force.addGlobalParameter("k", HANDEDNESS / KJ_PER_MOL * 1e6)  # kJ/mol/nm⁶
        force.addGlobalParameter("least", LEAST_VOLUME / 1e3)  # nm³
        places: list[dict[str, int]] = [{} for _ in letters]
        for name, (atom, _, residue) in zip(names, self._held):
            places[residue][name] = atom
        for letter, where in zip(letters, places):
            if letter not in ("G", UNKNOWN):
                force.addBond([where[name] for name in ("N", "C", "CB", "CA")], [])
        force.setForceGroup(_RESTRAINTS)
        return force

    @property
    def energy(self) -> float:
        """Energy of the force field, solvent included and restraints not, in eV."""
        from openmm import unit

        state = self._context.getState(getEnergy=True, groups={_FIELD, _SOLVENT})
        return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)) * KJ_PER_MOL

    def minimise(self, free: Tensor) -> list[Tensor]:
        """Move all atoms to where energy and restraints are least, and return the heavy ones of each chain [N, 3] in Å.

        Args:
            free: residues of all chains that are not held [L].

        Raises:
            ValueError: if the energy cannot be minimised.
        """
        from openmm import unit

        for k, (atom, place, residue) in enumerate(self._held):
            stiffness = 0.0 if free[residue] else self._stiffness
            self._restraints.setParticleParameters(k, atom, [stiffness, *place])
        self._restraints.updateParametersInContext(self._context)
        # The solvent costs most, and has little to say while atoms are on top of each other.
        stages = [{_FIELD, _RESTRAINTS}, {_FIELD, _RESTRAINTS, _SOLVENT}]
        for groups in stages if self._solvated else stages[:1]:
            self._context.getIntegrator().setIntegrationForceGroups(groups)
            try:
                self._openmm.LocalEnergyMinimizer.minimize(self._context, TOLERANCE)
            except self._openmm.OpenMMException as error:
                raise ValueError(f"the energy of the structure cannot be minimised: {error}") from None
        state = self._context.getState(getPositions=True)
        found = torch.from_numpy(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)[self._atoms])
        pos = torch.empty_like(found)
        pos[self._rows] = found
        if not bool(pos.isfinite().all()):
            raise ValueError("the energy of the structure cannot be minimised: atoms fly apart")
        return list(pos.split(self._sizes))


def _context(openmm: Any, system: Any, wanted: PlatformName, threads: int | None) -> Any:
    """Return a context on the platform that is wanted, or on the first that works."""
    there = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    if wanted != "auto" and wanted not in there:
        raise ValueError(f"OpenMM has no platform {wanted!r} here, only {', '.join(there)}")
    names = [wanted] if wanted != "auto" else [name for name in ("CUDA", "CPU") if name in there]
    for name in names:
        settings = {**_PLATFORMS[name], **(thread_settings(threads) if name == "CPU" else {})}
        integrator = openmm.VerletIntegrator(0.001)  # never steps
        try:
            return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(name), settings)
        except openmm.OpenMMException as error:
            if name == names[-1]:  # a platform may be there without its device
                raise ValueError(f"OpenMM cannot use its platform {name}: {error}") from None
    raise ValueError(f"OpenMM has none of its platforms CUDA and CPU here, only {', '.join(there)}")
