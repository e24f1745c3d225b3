"""`periodic_edges` of batches: against a sum over images and against ASE, and edge vectors that follow the cell."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_equiformer.neighbors import (
    image_shift,
    periodic_edges,
    periodic_radius_graph,
    periodic_search,
    periodic_vectors,
)

from .test_periodic import ALL, WAYS, crystals, searching, sum_over_images

Crystal = tuple[Tensor, float, Tensor, list[bool]]


def as_batch(found: list[Crystal]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Positions, cells, pbc and batch of several structures."""
    batch = torch.cat([torch.full((len(pos),), k) for k, (pos, *_) in enumerate(found)])
    pos, cell = torch.cat([c[0] for c in found]), torch.stack([c[2] for c in found])
    return pos, cell, torch.tensor([c[3] for c in found]), batch


def rows(edges: tuple[Tensor, Tensor], first: int = 0) -> list[tuple[int, ...]]:
    (source, target), image = edges
    ends = torch.stack([target - first, source - first], dim=1)
    return [tuple(r) for r in torch.cat([ends, image], dim=1).tolist()]


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(crystals())
def test_random_cells_have_the_images_of_the_sum_over_images(way: str, crystal: Crystal) -> None:
    pos, r, cell, pbc = crystal
    with searching(way):
        edges = periodic_edges(pos, r, cell, torch.tensor(pbc))
    slow = sum_over_images(pos, r + 1e-9, cell, pbc)
    sure = {edge for edge, distance in slow.items() if distance < r - 1e-9}
    got = rows(edges)
    assert got == sorted(got)
    assert sure <= set(got) <= set(slow)
    lengths = periodic_vectors(pos, edges, cell).norm(dim=-1).tolist()
    assert all(abs(length - slow[edge]) < 1e-9 for edge, length in zip(got, lengths))


@settings(max_examples=25, deadline=None)
@given(crystals())
def test_random_cells_have_the_neighbours_that_ase_finds(crystal: Crystal) -> None:
    primitive = pytest.importorskip("ase.neighborlist").primitive_neighbor_list
    pos, r, cell, pbc = crystal
    if not any(pbc):  # ASE wants a box around the atoms then
        cell = torch.eye(3, dtype=torch.float64)
    i, j, n, d = primitive("ijSd", pbc, cell.numpy(), pos.numpy(), r)
    ours = set(rows(periodic_edges(pos, r, cell, torch.tensor(pbc))))
    theirs = {(*e, *s): x for *e, s, x in zip(i.tolist(), j.tolist(), n.tolist(), d.tolist())}
    sure = {edge for edge, distance in theirs.items() if distance < r - 1e-9}
    # What only one of both has lies at the cutoff, within rounding.
    slow = sum_over_images(pos, r + 1e-6, cell, pbc)
    assert sure <= ours
    assert all(abs(slow[edge] - r) < 1e-9 for edge in ours - set(theirs))


@settings(max_examples=25, deadline=None)
@given(st.lists(crystals(), min_size=1, max_size=4), st.integers(0, 99))
def test_a_batch_in_any_order_has_the_edges_of_its_structures(found: list[Crystal], seed: int) -> None:
    r = found[0][1]
    pos, cell, pbc, batch = as_batch(found)
    together = periodic_edges(pos, r, cell, pbc, batch)
    expected, first = [], 0
    for x, _, box, repeats in found:
        alone = periodic_edges(x, r, box, torch.tensor(repeats))
        expected += rows((alone.edge_index + first, alone.image))
        first += len(x)
    assert rows(together) == expected
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(seed))
    mixed = periodic_edges(pos[order], r, cell, pbc, batch[order])
    assert bool((mixed.edge_index[1].diff() >= 0).all())
    assert sorted(rows((order[mixed.edge_index], mixed.image))) == sorted(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shifts_of_a_batch_are_those_of_its_structures_to_the_last_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    cells = (3 * torch.eye(3) + torch.rand(5, 3, 3, generator=generator, dtype=torch.float64)).to(dtype)
    pos = 5 * torch.rand(10, 3, generator=generator, dtype=torch.float64).to(dtype)
    batch = torch.arange(5).repeat_interleave(2)
    edge_index, shift = periodic_radius_graph(pos, 4.0, cells, ALL.expand(5, 3), batch=batch)
    for k in range(5):
        alone, own = periodic_radius_graph(pos[batch == k], 4.0, cells[k], ALL)
        here = batch[edge_index[1]] == k
        assert torch.equal(edge_index[:, here] - 2 * k, alone)
        assert torch.equal(shift[here], own)


def test_a_cell_thinner_than_half_the_cutoff_has_several_images_of_one_pair() -> None:
    cell = torch.diag(torch.tensor([1.5, 9.0, 9.0], dtype=torch.float64))
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.3, 1.0, 0.0]], dtype=torch.float64)
    edge_index, image = periodic_edges(pos, 3.5, cell, ALL)
    between = (edge_index[0] == 1) & (edge_index[1] == 0)
    assert image[between].tolist() == [[n, 0, 0] for n in (-2, -1, 0, 1, 2)]
    assert int((edge_index[0] == edge_index[1]).sum()) == 8


def test_edge_vectors_have_exact_gradients_by_positions_and_cells() -> None:
    generator = torch.Generator().manual_seed(3)
    cell = 3 * torch.eye(3) + 0.5 * torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    pos, batch = torch.rand(5, 3, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    edges = periodic_edges(pos, 3.0, cell, ALL.expand(2, 3), batch)

    def vectors(pos: Tensor, cell: Tensor) -> Tensor:
        return periodic_vectors(pos, edges, cell, batch)

    assert torch.autograd.gradcheck(vectors, (pos.requires_grad_(), cell.requires_grad_()))


def test_structures_without_atoms_or_repetition_stand_beside_others() -> None:
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    cell, pbc = (
        torch.stack([torch.zeros(3, 3), torch.eye(3), torch.eye(3) * 2]),
        torch.tensor([[0] * 3, [1] * 3, [1, 0, 0]]),
    )
    edge_index, image = periodic_edges(pos, 2.5, cell, pbc.bool(), torch.tensor([0, 0, 2]))
    assert edge_index.tolist() == [[1, 0, 2, 2], [0, 1, 2, 2]]
    assert image.tolist() == [[0, 0, 0], [0, 0, 0], [-1, 0, 0], [1, 0, 0]]


def test_the_nearest_are_kept_in_each_structure_of_a_batch() -> None:
    cell = torch.stack([torch.eye(3) * 2.0, torch.diag(torch.tensor([1.0, 2.0, 3.0]))])
    edges = periodic_edges(torch.zeros(2, 3), 4.0, cell, ALL.expand(2, 3), torch.tensor([0, 1]), max_num_neighbors=2)
    assert edges.edge_index.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert edges.image[2:].tolist() == [[-1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": None}, r"expected batch \[2\] for 2 cells, got None"),
        ({"batch": torch.tensor([0, 2])}, "expected batch from 0 to 1 for 2 cells, got 0 to 2"),
        ({"batch": torch.tensor([0.0, 1.0])}, "batch of integers"),
        ({"cell": torch.eye(2).expand(2, 2, 2)}, r"cell as a floating point tensor of shape \[B, 3, 3\]"),
        ({"pbc": torch.ones(2, 3)}, r"pbc as a bool tensor of shape \[2, 3\]"),
        ({"pbc": ALL}, r"pbc as a bool tensor of shape \[2, 3\], got \[3\]"),
        ({"pos": torch.full((2, 3), torch.nan)}, "finite positions"),
        ({"cell": torch.stack([torch.eye(3), torch.ones(3, 3)])}, "independent cell vectors"),
        ({"r": 1e4}, "a cutoff of 10000 Å gives each of the 1 atoms about .* neighbours .*smaller cutoff"),
    ],
)
def test_batches_that_cannot_be_are_refused(change: dict, message: str) -> None:
    given = {"pos": torch.zeros(2, 3), "r": 2.5, "cell": torch.eye(3).expand(2, 3, 3), "pbc": ALL.expand(2, 3)}
    with pytest.raises(ValueError, match=message):
        periodic_edges(**{**given, "batch": torch.tensor([0, 1]), **change})


def test_large_boxes_are_not_taken_for_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_search, "MOST_PAIRS", 40_000_000)
    periodic_search.check_size(1_000_000, 5.0, [271.5] * 3, (True, True, True))  # silicon, about 26 neighbours
    periodic_search.check_size(1000, 50.0, [1e4, 5.0, 5.0], (False, False, False))
    with pytest.raises(ValueError, match="choose a smaller cutoff"):
        periodic_search.check_size(1_000_000, 10.0, [271.5] * 3, (True, True, True))


def test_shifts_of_several_cells_need_the_structure_of_each_edge() -> None:
    with pytest.raises(ValueError, match="structure of each edge"):
        image_shift(torch.zeros(1, 3), torch.eye(3).expand(2, 3, 3))
