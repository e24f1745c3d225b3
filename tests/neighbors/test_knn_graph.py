"""`knn_graph` against a slow, obvious double loop."""

import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_equiformer.neighbors import knn_graph
from pyg_equiformer.neighbors.libraries import has_vesin

from .test_radius_graph import DEVICES, batches, box, double_loop

module = importlib.import_module("pyg_equiformer.neighbors.knn_graph")
needs_vesin = pytest.mark.skipif(not has_vesin(), reason="vesin is not installed")


def by_definition(pos: Tensor, k: int, batch: Tensor, cutoff: float = math.inf) -> Tensor:
    return double_loop(pos, cutoff, batch, limit=k)


@settings(max_examples=100, deadline=None)
@given(batches())
def test_the_nearest_of_each_atom_are_those_of_a_double_loop(case: tuple[Tensor, float, Tensor, int | None]) -> None:
    pos, r, batch, limit = case
    k = limit or 3
    assert torch.equal(knn_graph(pos, k, batch), by_definition(pos, k, batch))
    assert torch.equal(knn_graph(pos, k, batch, cutoff=r), by_definition(pos, k, batch, r))


@needs_vesin
@settings(max_examples=60, deadline=None)
@given(batches())
def test_cells_give_the_same_edges_in_small_and_uneven_graphs(case: tuple[Tensor, float, Tensor, int | None]) -> None:
    pos, _, batch, limit = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CELLS_FROM", 2)
        patch.setattr(module, "SAMPLE", 2)
        assert torch.equal(knn_graph(pos, limit or 3, batch), by_definition(pos, limit or 3, batch))


@needs_vesin
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cells_are_used_in_large_graphs_and_agree_with_all_distances(dtype: torch.dtype) -> None:
    even = box(2500, dtype=dtype)
    uneven = torch.cat([even[:1200] * 1e-2, even[1200:] * 10, even[:100] + 500])
    for pos in (even, uneven):
        batch = torch.cat([torch.zeros(len(pos), dtype=torch.int64), torch.ones(3, dtype=torch.int64)])
        both = torch.cat([pos, even[:3]])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "CELLS_FROM", 10**9)
            expected = knn_graph(both, 12, batch)
        assert torch.equal(knn_graph(both, 12, batch), expected)
    used = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "radius_graph", lambda *a, **k: used.append(a[1]) or module_radius_graph(*a, **k))
        knn_graph(even, 12)
    assert len(used) == 1


module_radius_graph = module.radius_graph


@pytest.mark.parametrize("device", DEVICES)
def test_small_graphs_give_all_other_atoms(device: str) -> None:
    none = torch.empty(2, 0, dtype=torch.int64)
    assert torch.equal(knn_graph(torch.empty(0, 3, device=device), 4).cpu(), none)
    assert torch.equal(knn_graph(torch.zeros(1, 3, device=device), 4).cpu(), none)
    batch = torch.tensor([0, 2, 2], device=device)
    assert knn_graph(torch.randn(3, 3, device=device), 4, batch).tolist() == [[2, 1], [1, 2]]


def test_atoms_at_one_place_take_the_lowest_indices() -> None:
    assert knn_graph(torch.zeros(4, 3), 2).tolist() == [[1, 2, 0, 2, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2, 3, 3]]


def test_a_large_graph_goes_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    pos = box(40, dtype=torch.float64)
    expected = knn_graph(pos, 5)
    for name in ("pyg_equiformer.neighbors.dense.CPU_PAIRS", "pyg_equiformer.neighbors.dense.FREE_PADDING"):
        monkeypatch.setattr(name, 100)
    assert torch.equal(knn_graph(pos, 5), expected)


def test_edges_are_directed_and_carry_no_gradient() -> None:
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]], requires_grad=True)
    edge_index = knn_graph(pos, 1)
    assert edge_index.tolist() == [[1, 0, 1], [0, 1, 2]]
    assert not edge_index.requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "expected k, neighbours of each atom, to be an integer ≥ 1, got 0"),
        ({"k": 1.5}, "integer ≥ 1, got 1.5"),
        ({"k": True}, "integer ≥ 1, got True"),
        ({"pos": torch.zeros(2, 2)}, r"expected pos of shape \[N, 3\]"),
        ({"pos": torch.tensor([[0.0, 0.0, math.nan]])}, "expected finite positions"),
        ({"batch": torch.zeros(3, dtype=torch.int64)}, r"expected batch of shape \[2\]"),
        ({"cutoff": -1.0}, "expected the cutoff r"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_graph(**{"pos": torch.zeros(2, 3), "k": 1, **arguments})
