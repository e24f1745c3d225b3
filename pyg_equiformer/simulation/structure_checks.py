"""Structures that no model can say anything sensible of, refused with a reason."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

#: Twice the density of a hydrogen metal at 500 GPa: a denser cell is in another unit, or atoms lie on each other.
DENSEST = 2.0
#: Neighbours of an atom from which no machine has the memory.
MOST_NEIGHBORS = 20_000


def check_elements(numbers: Iterable[int], elements: Sequence[int]) -> None:
    """Raise a ValueError that lists the elements that a model does not know.

    Example:
        >>> check_elements([8, 1, 1], (1, 8))
    """
    from ase.data import chemical_symbols

    def named(found: Iterable[int]) -> str:
        return ", ".join(chemical_symbols[z] if 0 <= z < len(chemical_symbols) else f"Z = {z}" for z in sorted(found))

    if unknown := {int(z) for z in numbers} - set(elements):
        known = named(elements) if len(elements) < 100 else f"{len(elements)} elements"
        raise ValueError(f"the model was not trained on {named(unknown)}, only on {known}")


def check_cell(atoms: Any, reach: float) -> None:
    """Raise a ValueError if a structure repeats without a cell, or is too dense for a search within `reach` Å."""
    pbc, cell = atoms.pbc, atoms.cell
    if missing := [axis for axis, repeats, vector in zip("abc", pbc, cell) if repeats and not vector.any()]:
        raise ValueError(
            f"pbc is {[bool(p) for p in pbc]}, but there is no cell vector {', '.join(missing)}: set atoms.cell in Å, "
            "or atoms.pbc = False where the structure does not repeat"
        )
    if not pbc.all() or len(atoms) == 0:
        return
    volume = abs(float(cell.volume))
    density = len(atoms) / volume if volume > 0 else math.inf
    if density > DENSEST:
        raise ValueError(
            f"the cell of {volume:.4g} Å³ holds {len(atoms)} atoms, {density:.3g} per Å³, more than any matter: check "
            "the unit of the cell, expected Å"
        )
    neighbors = density * 4 / 3 * math.pi * reach**3
    if neighbors > MOST_NEIGHBORS:
        raise ValueError(
            f"a cutoff of {reach:g} Å (skin included) gives each atom about {neighbors:.3g} neighbours at "
            f"{density:.3g} atoms per Å³, expected less than {MOST_NEIGHBORS}: too large for this structure"
        )


def check_distances(pos: Tensor, edge_index: Tensor, shift: Tensor | None, least: float) -> None:
    """Raise a ValueError if two atoms, or an atom and an image, are nearer than `least` Å.

    Example:
        >>> import torch
        >>> check_distances(torch.eye(3), torch.tensor([[1], [0]]), None, least=0.3)
    """
    if edge_index.shape[1] == 0 or least == 0:
        return
    source, target = edge_index
    vec = pos.index_select(0, source) - pos.index_select(0, target)
    distance = (vec if shift is None else vec + shift).norm(dim=-1)
    smallest = int(distance.argmin())
    if not float(distance[smallest]) >= least:
        i, j = sorted((int(source[smallest]), int(target[smallest])))
        what = f"atom {i} and an image of itself" if i == j else f"atoms {i} and {j}"
        raise ValueError(
            f"{what} are {float(distance[smallest]):.3g} Å apart, nearer than min_distance={least:g} Å, where no model "
            "was trained: check the structure, or take a smaller time step"
        )
