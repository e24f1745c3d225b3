"""`periodic_radius_graph` against a slow, obvious sum over images, for both ways of searching."""

import itertools
import math
from contextlib import contextmanager

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_equiformer.neighbors import libraries, periodic, periodic_radius_graph, radius_graph

from ..strategies import DEVICES

ALL = torch.tensor([True, True, True])
WAYS = ["dense", *(["vesin"] if libraries.has_vesin() else [])]


@contextmanager
def searching(way: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(periodic, "has_vesin", lambda: way == "vesin")
        yield


def sum_over_images(pos: Tensor, r: float, cell: Tensor, pbc: list[bool]) -> dict[tuple[int, ...], float]:
    """The distance of all (target, source, n₁, n₂, n₃) with |pos_j - pos_i + n · cell| < r, without any wrapping."""
    reach = r + float((pos.amax(0) - pos.amin(0)).norm())
    periodic_rows = cell[torch.tensor(pbc)]
    # |n · cell| ≥ |n| · (smallest singular value) bounds the images that can matter.
    smallest = float(torch.linalg.svdvals(periodic_rows).min()) if len(periodic_rows) else 1.0
    most = int(reach / smallest) + 1
    n = torch.tensor(list(itertools.product(*(range(-most, most + 1) if p else [0] for p in pbc))))
    vec = pos[None, :, None] - pos[:, None, None] + n.to(pos.dtype) @ cell
    distance = vec.norm(dim=-1)
    near = [(i, j, *n[k].tolist()) for i, j, k in (distance < r).nonzero().tolist()]
    return {e: d for e, d in zip(near, distance[distance < r].tolist()) if e[0] != e[1] or any(e[2:])}


def images_of(edge_index: Tensor, shift: Tensor, cell: Tensor) -> list[tuple[int, ...]]:
    n = (shift @ torch.linalg.inv(cell)).round().long()
    source, target = edge_index
    return [tuple(row) for row in torch.cat([target[:, None], source[:, None], n], dim=1).tolist()]


@st.composite
def crystals(draw: st.DrawFn) -> tuple[Tensor, float, Tensor, list[bool]]:
    """Cells of any shape, thinner than the cutoff or not, atoms in and far outside of them."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    lengths = torch.tensor([draw(st.sampled_from([1.0, 2.5, 6.0])) for _ in range(3)], dtype=torch.float64)
    cell = torch.randn(3, 3, generator=generator, dtype=torch.float64) * lengths[:, None]
    pos = torch.randn(draw(st.integers(1, 4)), 3, generator=generator, dtype=torch.float64)
    pos = pos * draw(st.sampled_from([1.0, 4.0, 12.0]))
    if draw(st.booleans()):  # on a grid, where many distances are equal to the cutoff
        cell, pos = torch.diag(lengths), pos.round()
    r, pbc = draw(st.sampled_from([1.0, 2.0, 4.5])), draw(st.lists(st.booleans(), min_size=3, max_size=3))
    smallest = float(torch.linalg.svdvals(cell).min())
    assume(smallest > 0.3)
    assume(((r + float(pos.abs().max()) * 4) / smallest) ** sum(pbc) < 3e3)
    return pos, r, cell, pbc


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(crystals())
def test_edges_and_their_order_are_those_of_the_sum_over_images(
    way: str, crystal: tuple[Tensor, float, Tensor, list[bool]]
) -> None:
    pos, r, cell, pbc = crystal
    with searching(way):
        edge_index, shift = periodic_radius_graph(pos, r, cell, torch.tensor(pbc))
    assert edge_index.dtype == torch.int64
    # A distance within rounding of the cutoff may fall on either side of it in the slow sum.
    slow = sum_over_images(pos, r + 1e-9, cell, pbc)
    sure = {edge for edge, distance in slow.items() if distance < r - 1e-9}
    got = images_of(edge_index, shift, cell)
    assert got == sorted(got)
    assert len(set(got)) == len(got)
    assert sure <= set(got) <= set(slow)
    source, target = edge_index
    assert ((pos[source] - pos[target] + shift).norm(dim=-1) < r).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=40, deadline=None)
@given(crystals())
def test_both_ways_of_searching_give_the_same_numbers(
    dtype: torch.dtype, crystal: tuple[Tensor, float, Tensor, list[bool]]
) -> None:
    pos, r, cell, pbc = crystal
    results = []
    for way in WAYS:
        with searching(way):
            results.append(periodic_radius_graph(pos.to(dtype), r, cell.to(dtype), torch.tensor(pbc)))
    for edge_index, shift in results:
        assert torch.equal(edge_index, results[0][0])
        assert torch.equal(shift, results[0][1])
        assert shift.dtype == dtype


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_image_exactly_at_the_cutoff_is_no_neighbour_and_just_below_it_is(way: str, dtype: torch.dtype) -> None:
    cell, pos = torch.eye(3, dtype=dtype) * 2.5, torch.zeros(1, 3, dtype=dtype)
    with searching(way):
        assert periodic_radius_graph(pos, 2.5, cell, ALL)[0].shape == (2, 0)
        edge_index, shift = periodic_radius_graph(pos, math.nextafter(2.5, 3) + 1e-6, cell, ALL)
    assert edge_index.tolist() == [[0] * 6, [0] * 6]
    assert {tuple(s) for s in shift.tolist()} == {tuple(s * v) for v in cell.numpy() for s in (1.0, -1.0)}


@pytest.mark.parametrize("device", DEVICES)
def test_copper_has_twelve_neighbours_and_six_in_the_next_shell(device: str) -> None:
    a = 3.6
    cell = torch.tensor([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]], device=device)
    pos = torch.tensor([[1.0, 2.0, 300.0]], device=device)
    counts = [
        periodic_radius_graph(pos, r, cell, ALL.to(device))[0].shape[1] for r in (a / 2**0.5 - 0.01, a - 0.01, a + 0.01)
    ]
    assert counts == [0, 12, 18]


@pytest.mark.parametrize("way", WAYS)
def test_a_slab_needs_no_third_cell_vector(way: str) -> None:
    cell, pos = torch.diag(torch.tensor([3.0, 3.0, 0.0])), torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 50.0]])
    with searching(way):
        edge_index, shift = periodic_radius_graph(pos, 3.1, cell, torch.tensor([True, True, False]))
    assert edge_index.tolist() == [[0] * 4 + [1] * 4] * 2
    assert (shift[:, 2] == 0).all()


@pytest.mark.parametrize("way", WAYS)
def test_without_periodic_directions_it_is_the_radius_graph(way: str) -> None:
    pos = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) * 4
    with searching(way):
        edge_index, shift = periodic_radius_graph(pos, 2.0, torch.zeros(3, 3), ~ALL)
    assert torch.equal(edge_index, radius_graph(pos, 2.0))
    assert torch.equal(shift, torch.zeros(edge_index.shape[1], 3))


@pytest.mark.parametrize("way", WAYS)
def test_moving_atoms_by_cell_vectors_changes_no_edge_vector(way: str) -> None:
    generator = torch.Generator().manual_seed(1)
    cell = torch.eye(3, dtype=torch.float64) * 4 + torch.rand(3, 3, generator=generator, dtype=torch.float64)
    pos = torch.rand(6, 3, generator=generator, dtype=torch.float64) @ cell
    moved = pos + torch.randint(-3, 4, (6, 3), generator=generator).double() @ cell
    found = []
    with searching(way):
        for x in (pos, moved):
            (source, target), shift = periodic_radius_graph(x, 5.0, cell, ALL)
            rows = torch.cat([target[:, None], source[:, None], x[source] - x[target] + shift], dim=1)
            found.append(sorted(tuple(round(v, 8) + 0.0 for v in row) for row in rows.tolist()))
    assert len(found[0]) > 100
    assert found[0] == found[1]


def test_a_cell_that_does_not_fit_vesins_grid_is_searched_all_the_same() -> None:
    cell = torch.diag(torch.tensor([2.0, 2.0, 1e6], dtype=torch.float64))
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1e6 - 1.0]], dtype=torch.float64)
    edge_index, shift = periodic_radius_graph(pos, 1.5, cell, ALL)
    assert edge_index.tolist() == [[1, 0], [0, 1]]
    assert shift[:, 2].tolist() == [-1e6, 1e6]


@pytest.mark.parametrize("way", WAYS)
def test_the_nearest_images_are_kept_where_their_number_is_limited(way: str) -> None:
    cell = torch.diag(torch.tensor([1.0, 1.5, 9.0]))
    with searching(way):
        _, shift = periodic_radius_graph(torch.zeros(1, 3), 3.2, cell, ALL, max_num_neighbors=4)
    assert shift.tolist() == [[-1.0, 0.0, 0.0], [0.0, -1.5, 0.0], [0.0, 1.5, 0.0], [1.0, 0.0, 0.0]]


def test_a_structure_without_atoms_has_no_edges() -> None:
    edge_index, shift = periodic_radius_graph(torch.zeros(0, 3), 3.0, torch.eye(3), ALL)
    assert (edge_index.shape, shift.shape) == ((2, 0), (0, 3))


@pytest.mark.parametrize(
    ("cell", "pbc", "message"),
    [
        (torch.eye(2), ALL, r"cell as a floating point tensor of shape \[3, 3\], got \[2, 2\]"),
        (torch.eye(3), [True] * 3, "pbc as a bool tensor.*list"),
        (torch.eye(3), torch.ones(3), r"pbc as a bool tensor of shape \[3\], got \[3\] of torch.float32"),
        (torch.eye(3) * torch.nan, ALL, "finite cell vectors"),
        (torch.zeros(3, 3), torch.tensor([True, False, False]), "independent cell vectors.*set pbc to False"),
        (torch.ones(3, 3), ALL, "independent cell vectors"),
        (torch.eye(3) * 1e-3, ALL, "check its unit"),
    ],
)
def test_cells_that_cannot_be_are_refused(cell: Tensor, pbc: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        periodic_radius_graph(torch.zeros(1, 3), 3.0, cell, pbc)
