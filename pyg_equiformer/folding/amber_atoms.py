"""Heavy atoms of proteins as OpenMM takes them: residues, bonds, and hydrogens."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from ..data.protein_atoms import LETTER_TO_NAME, RESIDUE_ATOMS, UNKNOWN

OXT = 1.25  #: Å from C to the second oxygen at the end of a chain
#: So that results are the same each time, as far as they can be.
CPU_SETTINGS = {"DeterministicForces": "true"}


class Heavy(NamedTuple):
    """Heavy atoms as OpenMM takes them.

    Args:
        topology: of OpenMM, every stretch of bonded residues a chain of it.
        places: of its atoms in nm.
        rows: of each but OXT, its place among the atoms of all chains.
        owners: of each but OXT, its residue among those of all chains.
    """

    topology: Any
    places: np.ndarray
    rows: Tensor
    owners: list[int]


def openmm_topology(openmm: Any, chains: Sequence[Data], bridges: Sequence[tuple[int, int]]) -> "Heavy":
    """Return heavy atoms with their bonds, a second oxygen (OXT) at the end of each stretch of bonded residues.

    Args:
        openmm: the module.
        chains: with all heavy atoms.
        bridges: pairs of cysteines that are bonded, as places among the residues of all chains.
    """
    topology = openmm.app.Topology()
    places: list[np.ndarray] = []
    rows: list[int] = []
    owners: list[int] = []
    sulfur, first_atom, first_residue = {}, 0, 0
    for chain in chains:
        pos = chain.pos.numpy()
        for stretch in stretches(chain):
            bonded = topology.addChain()
            for k in stretch:
                own = (chain.residue == k).nonzero().flatten().tolist()
                where = {chain.atom_names[row]: pos[row] for row in own}
                residue = topology.addResidue(residue_name(chain.sequence[k], where), bonded)
                atoms = {name: _add_atom(openmm, topology, name, residue) for name in where}
                sulfur[first_residue + k] = atoms.get("SG")
                places += where.values()
                rows += [first_atom + row for row in own]
                owners += [first_residue + k] * len(own)
            _add_atom(openmm, topology, "OXT", residue)
            places.append(_second_oxygen(where))
        first_atom, first_residue = first_atom + len(pos), first_residue + len(chain.sequence)
    topology.createStandardBonds()
    for a, b in bridges:
        topology.addBond(sulfur[a], sulfur[b])
    return Heavy(topology, np.array(places) / 10, torch.tensor(rows), owners)


def _add_atom(openmm: Any, topology: Any, name: str, residue: Any) -> Any:
    return topology.addAtom(name, openmm.app.Element.getBySymbol(name[0]), residue)


def stretches(chain: Data) -> list[list[int]]:
    """Return the residues of a chain, those that are bonded to each other together.

    Example:
        >>> stretches(Data(sequence="GAS", residue=torch.tensor([0, 1, 2]), seq_pos=torch.tensor([0, 1, 5])))
        [[0, 1], [2]]
    """
    seq_pos = torch.zeros(len(chain.sequence), dtype=torch.long)
    seq_pos[chain.residue] = chain.seq_pos
    found: list[list[int]] = []
    for k in range(len(seq_pos)):
        if found and int(seq_pos[k] - seq_pos[k - 1]) == 1:
            found[-1].append(k)
        else:
            found.append([k])
    return found


def residue_name(letter: str, atoms: Mapping[str, np.ndarray]) -> str:
    """Return what the force field calls a residue that has these atoms."""
    if letter == UNKNOWN:
        letter = "A" if "CB" in atoms else "G"
    return LETTER_TO_NAME[letter]


def residue_needs(letter: str) -> tuple[str, ...]:
    """Return the heavy atoms without which the force field knows no such residue; X may be without CB."""
    return RESIDUE_ATOMS["G" if letter == UNKNOWN else letter]


def _second_oxygen(where: dict[str, np.ndarray]) -> np.ndarray:
    """In the plane of CA, C and O, on the other side."""
    bonds = [where["C"] - where[name] for name in ("CA", "O")]
    away = sum(bond / np.linalg.norm(bond) for bond in bonds)
    return where["C"] + OXT * away / np.linalg.norm(away)


def with_hydrogens(openmm: Any, heavy: Heavy, threads: int | None) -> tuple[Any, np.ndarray]:
    """Return the topology with the hydrogens of pH 7, and where its atoms are in nm.

    Raises:
        ValueError: if OpenMM finds no place for them.
    """
    from openmm import unit

    modeller = openmm.app.Modeller(heavy.topology, [openmm.Vec3(*p) for p in heavy.places.tolist()] * unit.nanometer)
    with _same_each_time(openmm.Platform.getPlatformByName("CPU"), threads) as platform:
        try:
            modeller.addHydrogens(platform=platform)
        except openmm.OpenMMException as error:
            raise ValueError(f"hydrogens cannot be added to the structure: {error}") from None
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))


@contextmanager
def _same_each_time(platform: Any, threads: int | None) -> Iterator[Any]:
    """The platform for what takes no settings of its own, and draws from Python's random numbers."""
    settings = {**CPU_SETTINGS, **thread_settings(threads)}
    before = {name: platform.getPropertyDefaultValue(name) for name in settings}
    state = random.getstate()
    random.seed(0)
    try:
        for name, value in settings.items():
            platform.setPropertyDefaultValue(name, value)
        yield platform
    finally:
        random.setstate(state)
        for name, value in before.items():
            platform.setPropertyDefaultValue(name, value)


def thread_settings(threads: int | None) -> dict[str, str]:
    """Return the setting of the CPU platform; None: none, it takes all cores."""
    return {} if threads is None else {"Threads": str(threads)}
