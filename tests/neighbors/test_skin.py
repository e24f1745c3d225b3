"""`SkinNeighbors` gives what a fresh search gives, to the last bit, and searches rarely."""

import pytest
import torch
from torch import Tensor

from pyg_equiformer.neighbors import SkinNeighbors, periodic_radius_graph, radius_graph

CUTOFF = 3.0
PERIODIC = [(True, True, True), (True, False, True), (False, False, True)]


def atoms(count: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return 7 * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def walk(pos: Tensor, steps: int, length: float):
    """Positions that move a bit at each step."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        pos = pos + length * torch.randn(pos.shape, generator=generator, dtype=pos.dtype)
        yield pos


def cell_of(dtype: torch.dtype) -> Tensor:
    return torch.tensor([[5.0, 0.3, 0.0], [-2.0, 4.5, 0.4], [0.7, 0.1, 6.1]], dtype=dtype)


def assert_fresh(got: tuple[Tensor, Tensor | None], pos: Tensor, cell: Tensor, pbc: Tensor) -> None:
    edge_index, shift = periodic_radius_graph(pos, CUTOFF, cell, pbc)
    assert torch.equal(got[0], edge_index)
    assert torch.equal(got[1], shift)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_molecule_has_the_edges_of_a_fresh_search_at_every_step_of_few_searches(dtype):
    neighbors = SkinNeighbors(CUTOFF, skin=1.0)
    for pos in walk(atoms(40, dtype), 60, 0.06):
        edge_index, shift = neighbors(pos)
        assert shift is None
        assert torch.equal(edge_index, radius_graph(pos, CUTOFF))
    assert neighbors.calls == 60
    assert 2 <= neighbors.rebuilds <= 15


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("repeats", PERIODIC)
def test_a_crystal_has_the_edges_and_shifts_of_a_fresh_search(dtype, repeats):
    neighbors, cell, pbc = SkinNeighbors(CUTOFF, skin=1.0), cell_of(dtype), torch.tensor(repeats)
    for pos in walk(atoms(8, dtype), 60, 0.06):
        assert_fresh(neighbors(pos, cell, pbc), pos, cell, pbc)
    assert 2 <= neighbors.rebuilds <= 20


@pytest.mark.parametrize("repeats", PERIODIC)
def test_a_cell_that_breathes_and_shears_needs_few_searches_and_gives_the_same(repeats):
    neighbors, cell, pbc = SkinNeighbors(CUTOFF, skin=1.0), cell_of(torch.float64), torch.tensor(repeats)
    generator, fractional = torch.Generator().manual_seed(3), torch.linalg.solve(cell.T, atoms(8, torch.float64).T).T
    for _ in range(60):
        cell = cell @ (torch.eye(3).double() + 0.004 * torch.randn(3, 3, generator=generator).double())
        fractional = fractional + 0.001 * torch.randn(8, 3, generator=generator).double()
        assert_fresh(neighbors(fractional @ cell, cell, pbc), fractional @ cell, cell, pbc)
    # Where nothing repeats, a turned cell has other vectors to complete it, which cost a search at most.
    assert neighbors.rebuilds <= (30 if all(repeats) else 60)


def test_a_shrinking_cell_is_searched_before_a_pair_is_missed():
    neighbors, pbc = SkinNeighbors(CUTOFF, skin=0.5), torch.tensor([True, True, True])
    for side in torch.linspace(3.4, 2.6, 30, dtype=torch.float64).tolist():
        cell, pos = side * torch.eye(3).double(), torch.zeros(1, 3).double()
        assert_fresh(neighbors(pos, cell, pbc), pos, cell, pbc)
    assert 2 <= neighbors.rebuilds <= 8


def test_an_atom_is_searched_anew_after_half_the_skin_and_not_before():
    neighbors, pos = SkinNeighbors(CUTOFF, skin=1.0), torch.tensor([[0.0, 0, 0], [3.9, 0, 0]]).double()
    neighbors(pos)
    for moved, rebuilds in ((0.49, 1), (-0.49, 1), (0.51, 2)):
        neighbors(pos + torch.tensor([[moved, 0, 0], [0, 0, 0]]).double())
        assert neighbors.rebuilds == rebuilds


def test_other_numbers_of_atoms_and_periodicity_are_searched_anew_and_another_precision_is_not():
    neighbors, pos, cell = SkinNeighbors(CUTOFF, skin=1.0), atoms(6, torch.float64), cell_of(torch.float64)
    for arguments, rebuilds in (
        ((pos,), 1),
        ((pos[:5],), 2),
        ((pos[:5], cell, torch.tensor([True, True, True])), 3),
        ((pos[:5], cell, torch.tensor([True, True, False])), 4),
        ((pos[:5].float(), cell.float(), torch.tensor([True, True, False])), 4),
        ((pos[:5].float(), cell.float(), torch.tensor([False, False, False])), 5),
    ):
        for _ in range(2):
            found = neighbors(*arguments)
        if len(arguments) == 3 and arguments[2].any():
            assert_fresh(found, *arguments)
        assert neighbors.rebuilds == rebuilds


def test_atoms_that_are_wrapped_back_into_the_cell_are_found():
    neighbors, cell, pbc = SkinNeighbors(CUTOFF, skin=1.0), cell_of(torch.float64), torch.tensor([True, True, True])
    pos = atoms(8, torch.float64)
    neighbors(pos, cell, pbc)
    pos[3] += cell[1]
    assert_fresh(neighbors(pos, cell, pbc), pos, cell, pbc)


def test_without_a_skin_every_call_searches():
    neighbors = SkinNeighbors(CUTOFF, skin=0)
    for _ in range(3):
        neighbors(atoms(4, torch.float64))
    assert neighbors.rebuilds == 3


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf"), "1", True])
def test_a_skin_out_of_range_is_refused(skin):
    with pytest.raises(ValueError, match="expected the skin to be a finite number of Å, at least 0"):
        SkinNeighbors(CUTOFF, skin=skin)


def test_a_cell_without_pbc_and_atoms_at_nan_are_refused():
    neighbors, pos = SkinNeighbors(CUTOFF), atoms(3, torch.float64)
    with pytest.raises(ValueError, match="expected cell and pbc, or neither"):
        neighbors(pos, cell_of(torch.float64))
    pos[1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"expected finite positions.*atom 1"):
        neighbors(pos)
