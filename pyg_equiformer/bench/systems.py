"""What is computed: made-up molecules and liquids, the same in every run."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models import EquiformerConfig
from ..neighbors import radius_graph

#: Atoms of water per Å³, at room temperature.
WATER_DENSITY = 0.1003

ORGANIC = (1, 6, 7, 8, 9)


@dataclass(frozen=True)
class Workload:
    """What a preset is timed on.

    Attributes:
        atoms, molecules: in a molecule, and molecules in a batch.
        spacing: of the lattice that the atoms are displaced from, in Å.
        elements: atomic numbers to draw from.
        forces: whether forces are computed and trained on.
    """

    atoms: int
    molecules: int
    spacing: float
    elements: tuple[int, ...]
    forces: bool


_QM9 = Workload(18, 32, 1.6, ORGANIC, False)
_MD17 = Workload(21, 8, 1.75, (1, 6, 8), True)


def workload(preset: str) -> Workload:
    """Return what a preset is timed on: molecules as in the data that it was made for.

    Example:
        >>> workload("qm9_linear").molecules, workload("md17").forces
        (32, True)
    """
    return _QM9 if preset.startswith("qm9") else _MD17


@dataclass(frozen=True)
class System:
    """Atoms with their edges, and made-up labels.

    Shapes:
        z, batch [N]; pos [N, 3] in Å; edge_index [2, E]; energy [B] in eV; forces [N, 3] in eV/Å
    """

    z: Tensor
    pos: Tensor
    batch: Tensor
    edge_index: Tensor
    energy: Tensor
    forces: Tensor

    @property
    def molecules(self) -> int:
        return self.energy.shape[0]

    @property
    def degree(self) -> float:
        """Mean number of neighbours."""
        return self.edge_index.shape[1] / max(1, self.pos.shape[0])

    def to(self, device: torch.device | str) -> "System":
        """Return a copy on a device."""
        return System(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def first(self, molecules: int) -> "System":
        """Return the first molecules alone."""
        keep = self.batch < molecules
        edges = self.edge_index[:, keep[self.edge_index[1]]]
        return System(self.z[keep], self.pos[keep], self.batch[keep], edges, self.energy[:molecules], self.forces[keep])

    def facts(self) -> dict[str, float]:
        """Return its sizes, for a report."""
        return {
            "molecules": self.molecules,
            "atoms": self.pos.shape[0],
            "edges": self.edge_index.shape[1],
            "degree": round(self.degree, 2),
        }


def lattice(atoms: int, spacing: float, generator: torch.Generator, jitter: float = 0.15) -> Tensor:
    """Return the `atoms` points of a cubic lattice that are nearest to its middle, each displaced a little.

    Args:
        atoms: number of points.
        spacing: of the lattice in Å.
        generator: of the displacements.
        jitter: their standard deviation per component in Å.

    Shapes:
        → [atoms, 3] in Å
    """
    half = 1
    while 4.0 / 3.0 * torch.pi * (half - 1) ** 3 < atoms:
        half += 1
    axis = torch.arange(-half, half + 1, dtype=torch.float32)
    points = torch.cartesian_prod(axis, axis, axis)
    points = points[points.norm(dim=1).argsort(stable=True)[:atoms]] * spacing
    return points + jitter * torch.randn(atoms, 3, generator=generator)


def make_system(
    molecules: int, atoms: int, spacing: float, elements: tuple[int, ...], *, cutoff: float, degree: int | None = None
) -> System:
    """Return molecules of displaced lattice points with random elements and labels, the same ones every time.

    Args:
        molecules, atoms: how many, and atoms in each.
        spacing: of the lattice in Å.
        elements: atomic numbers to draw from.
        cutoff: pairs nearer than this are edges, in Å.
        degree: take so many nearest neighbours of each atom instead; for a single molecule.

    Raises:
        ValueError: if there are no molecules or not enough atoms.

    Example:
        >>> make_system(2, 18, 1.6, (1, 6), cutoff=5.0).pos.shape
        torch.Size([36, 3])
    """
    if molecules < 1 or atoms < 2:
        raise ValueError(f"expected at least 1 molecule of at least 2 atoms, got {molecules} of {atoms}")
    if degree is not None and (molecules > 1 or degree >= atoms):
        raise ValueError(f"expected one molecule of more than {degree} atoms, got {molecules} of {atoms}")
    g = torch.Generator().manual_seed(0)
    pos = torch.cat([lattice(atoms, spacing, g) for _ in range(molecules)])
    batch = torch.arange(molecules).repeat_interleave(atoms)
    z = torch.tensor(elements)[torch.randint(len(elements), (len(pos),), generator=g)]
    energy, forces = torch.randn(molecules, generator=g), torch.randn(len(pos), 3, generator=g)
    edges = radius_graph(pos, cutoff, batch) if degree is None else nearest_neighbors(pos, degree)
    return System(z, pos, batch, edges, energy, forces)


def nearest_neighbors(pos: Tensor, degree: int) -> Tensor:
    """Return edges from the nearest neighbours of each atom, sorted by target [2, N·degree]."""
    distance = torch.cdist(pos, pos).fill_diagonal_(float("inf"))
    source = distance.topk(degree, largest=False).indices.flatten()
    return torch.stack([source, torch.arange(len(pos)).repeat_interleave(degree)])


def preset_system(preset: str, config: EquiformerConfig, molecules: int | None = None) -> System:
    """Return the molecules that a preset is timed on."""
    w = workload(preset)
    molecules = w.molecules if molecules is None else molecules
    return make_system(molecules, w.atoms, w.spacing, w.elements, cutoff=config.cutoff)


def liquid(atoms: int, config: EquiformerConfig, *, degree: int | None = None) -> System:
    """Return one cloud of atoms as dense as water."""
    spacing = WATER_DENSITY ** (-1 / 3)
    return make_system(1, atoms, spacing, (1, 6, 8), cutoff=config.cutoff, degree=degree)
