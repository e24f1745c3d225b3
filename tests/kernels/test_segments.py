"""Softmax, sums and tables over the edges of each target."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyg_equiformer.kernels import neighbor_table, segment_softmax, segment_sum

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
every_device = pytest.mark.parametrize("device", DEVICES)
INDEX = [3, 0, 0, 3, 1, 3, 5]  # unsorted; targets 2 and 4 have no edges
N = 6

targets = st.lists(st.integers(0, 7), max_size=40).map(lambda values: torch.tensor(values, dtype=torch.long))


def random(*shape: int, device: str = "cpu", seed: int = 0) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(device).requires_grad_()


def dense_softmax(logits: Tensor, index: Tensor, num_segments: int, weight: Tensor | None = None) -> Tensor:
    """PyTorch's own softmax on a dense [N, E, H] array, -inf where an edge is not the target's."""
    mine = index.unsqueeze(0) == torch.arange(num_segments, device=index.device).unsqueeze(1)
    logits = logits if weight is None else logits + weight.log().unsqueeze(1)
    rows = torch.where(mine.unsqueeze(2), logits.unsqueeze(0), -torch.inf)
    return rows.index_select(0, index.unique()).softmax(dim=1).nan_to_num().sum(dim=0)


def derivatives(f: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    out = f(*inputs)
    first = torch.autograd.grad(
        (out * torch.linspace(1, 2, out.numel()).view_as(out).to(out)).sin().sum(), inputs, create_graph=True
    )
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs, create_graph=True)
    third = torch.autograd.grad(sum(g.square().sum() for g in second), inputs)
    return [out, *first, *second, *third]


def ancestors(node: Any) -> list[Any]:
    """The steps of a gradient, this one and those that it calls."""
    return [] if node is None else [node, *(n for up, _ in node.next_functions for n in ancestors(up))]


@every_device
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_and_its_first_three_derivatives_equal_dense_softmax(weighted: bool, device: str) -> None:
    index = torch.tensor(INDEX, device=device)
    inputs = [random(len(INDEX), 2, device=device)]
    if weighted:
        inputs.append(torch.linspace(0.1, 1, len(INDEX), dtype=torch.float64, device=device).requires_grad_())
    mine = derivatives(lambda a, *u: segment_softmax(a, index, N, *u), *inputs)
    reference = derivatives(lambda a, *u: dense_softmax(a, index, N, *u), *inputs)
    for a, b in zip(mine, reference, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)


def test_softmax_passes_gradcheck_and_gradgradcheck() -> None:
    index, u = torch.tensor(INDEX), torch.linspace(0.1, 1, len(INDEX), dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda a, u: segment_softmax(a, index, N, u), (random(len(INDEX), 2), u))
    assert gradgradcheck(lambda a, u: segment_softmax(a, index, N, u), (random(len(INDEX), 2), u))


@given(targets)
@settings(deadline=None, max_examples=60)
def test_shares_are_positive_and_sum_to_one_over_the_edges_of_every_target(index: Tensor) -> None:
    alpha = segment_softmax(torch.randn(len(index), 3, dtype=torch.float64), index, 8)
    assert alpha.shape == (len(index), 3)
    assert (alpha > 0).all()
    total = segment_sum(alpha, index, 8)
    has_edges = torch.bincount(index, minlength=8) > 0
    assert torch.allclose(total, has_edges.double().unsqueeze(1).expand(-1, 3), atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_neither_overflow_nor_vanish(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e30], [1e30], [-1e30], [-1e30]], dtype=dtype, requires_grad=True)
    alpha = segment_softmax(logits, torch.tensor([0, 0, 1, 1]), 2)
    assert torch.equal(alpha, torch.full((4, 1), 0.5, dtype=dtype))
    (gradient,) = torch.autograd.grad(alpha.square().sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [2.0, 32.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_where_nothing_overflows_the_relaxed_softmax_is_the_same_function(scale: float, weighted: bool) -> None:
    index, a = torch.tensor(INDEX), 20 * random(len(INDEX), 2).detach()
    u = torch.linspace(0.1, 1, len(INDEX), dtype=torch.float64) if weighted else torch.ones(len(INDEX)).double()
    expected = torch.zeros_like(a)
    for i in index.unique():
        edges = index == i
        low = a[edges] / scale
        share = u[edges].unsqueeze(1) * ((low - low.amax(0)) * scale).exp()
        expected[edges] = share / share.sum(0)
    assert torch.allclose(segment_softmax(a, index, N, u if weighted else None), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_largest_logits_of_half_precision_neither_overflow_nor_vanish(dtype: torch.dtype, weighted: bool) -> None:
    most = torch.finfo(dtype).max
    logits = torch.tensor([[most], [most], [-most], [-most], [most], [-most]], dtype=dtype, requires_grad=True)
    weight = torch.ones(6) if weighted else None
    alpha = segment_softmax(logits, torch.tensor([0, 0, 1, 1, 2, 2]), 3, weight)
    assert alpha.dtype == dtype
    assert alpha.flatten().tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 0.0]
    (gradient,) = torch.autograd.grad(alpha.square().sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_shares_of_many_edges_are_float32s_rounded(dtype: torch.dtype) -> None:
    logits, index = torch.randn(3000, 2).to(dtype), torch.arange(3000) % 2
    alpha = segment_softmax(logits, index, 2)
    assert torch.equal(alpha, segment_softmax(logits.float(), index, 2).to(dtype))


def test_an_edge_of_weight_zero_is_as_good_as_absent() -> None:
    index, logits = torch.tensor(INDEX), random(len(INDEX), 2)
    keep = torch.tensor([True, True, False, True, True, False, True])
    alpha = segment_softmax(logits, index, N, keep.double())
    assert torch.equal(alpha[~keep], torch.zeros(2, 2, dtype=torch.float64))
    assert torch.allclose(alpha[keep], segment_softmax(logits[keep], index[keep], N), rtol=1e-14)


def test_a_target_whose_edges_all_weigh_zero_gets_zero_shares_with_finite_derivatives() -> None:
    index, logits = torch.tensor([0, 0, 1]), random(3, 1)
    u = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    alpha = segment_softmax(logits, index, 2, u)
    assert alpha.flatten().tolist() == [0.0, 0.0, 1.0]
    first = torch.autograd.grad(alpha.square().sum() + alpha.sum(), (logits, u), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (logits, u))
    assert all(g.isfinite().all() for g in (*first, *second))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_weightless_edge_of_high_score_takes_nothing_from_the_others(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1000.0], [0.0], [0.0]], dtype=dtype)
    alpha = segment_softmax(logits, torch.zeros(3, dtype=torch.long), 1, torch.tensor([0.0, 1.0, 1.0], dtype=dtype))
    assert alpha.flatten().tolist() == [0.0, 0.5, 0.5]


@given(targets)
@settings(deadline=None, max_examples=60)
def test_segment_sum_equals_a_loop(index: Tensor) -> None:
    x = torch.randn(len(index), 2, 3, dtype=torch.float64)
    expected = torch.zeros(8, 2, 3, dtype=torch.float64)
    for row, i in zip(x, index.tolist()):
        expected[i] += row
    assert torch.allclose(segment_sum(x, index, 8), expected, rtol=1e-13)


def test_segment_sum_passes_gradcheck_and_gradgradcheck() -> None:
    index, x = torch.tensor(INDEX), random(len(INDEX), 2)
    assert gradcheck(lambda x: segment_sum(x, index, N), x)
    assert gradgradcheck(lambda x: segment_sum(x, index, N), x)


@given(targets)
@settings(deadline=None, max_examples=150)
def test_a_table_lists_every_edge_once_in_the_row_of_its_target_in_order(index: Tensor) -> None:
    table = neighbor_table(index, 8)
    if table is None:
        return
    width = int(torch.bincount(index).max())
    assert table.edges.shape == (8, width)
    filled = torch.ones(8, width, dtype=torch.bool) if table.filled is None else table.filled
    assert sorted(table.edges[filled].tolist()) == list(range(len(index)))
    for i in range(8):
        assert table.edges[i][filled[i]].tolist() == (index == i).nonzero().flatten().tolist()


@given(targets)
@settings(deadline=None, max_examples=150)
def test_there_is_a_table_exactly_where_padding_at_most_quadruples_the_work(index: Tensor) -> None:
    degree = torch.bincount(index, minlength=8)
    worth_it = len(index) > 0 and 8 * int(degree.max()) <= 4 * len(index) + 64
    assert (neighbor_table(index, 8) is not None) == worth_it


@given(targets)
@settings(deadline=None, max_examples=100)
def test_gather_puts_each_edge_in_its_place_and_zero_in_empty_ones(index: Tensor) -> None:
    table = neighbor_table(index, 8)
    if table is None:
        return
    x = torch.randn(len(index), 2, 3, dtype=torch.float64)
    gathered = table.gather(x, masked=True)
    assert torch.allclose(gathered.sum(1), segment_sum(x, index, 8), rtol=1e-13, atol=1e-13)
    degree = torch.bincount(index, minlength=8)
    for i in range(8):
        assert torch.equal(gathered[i, : degree[i]], x[index == i])
        assert not gathered[i, degree[i] :].any()


def test_a_table_that_knows_places_gathers_the_same_with_gradients_that_gather_too() -> None:
    plain, x = neighbor_table(torch.tensor(INDEX), N), random(len(INDEX), 2, 3)
    assert plain is not None
    assert plain.filled is not None
    places = torch.empty(len(INDEX), dtype=torch.long)
    places[plain.edges[plain.filled]] = plain.filled.flatten().nonzero().flatten()
    known = plain._replace(places=places)
    for a, b in zip(
        derivatives(lambda x: known.gather(x).sin(), x),
        derivatives(lambda x: plain.gather(x, masked=True).sin(), x),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-13)
    assert gradgradcheck(lambda x: known.gather(x) ** 2, x)
    out = known.gather(x)
    (by_x,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    seen = {node.name() for node in ancestors(out.grad_fn)} | {node.name() for node in ancestors(by_x.grad_fn)}
    assert not any("Index" in name or "Scatter" in name for name in seen), seen


@every_device
def test_a_regular_sorted_graph_needs_no_padding(device: str) -> None:
    table = neighbor_table(torch.tensor([0, 0, 1, 1, 2, 2], device=device), 3)
    assert table is not None
    assert table.filled is None
    assert torch.equal(table.gather(torch.arange(6, device=device)), torch.arange(6, device=device).view(3, 2))


def test_an_unsorted_graph_of_equal_degrees_is_not_taken_for_regular() -> None:
    table = neighbor_table(torch.tensor([0, 1, 0, 1]), 2)
    assert table is not None
    assert table.gather(torch.arange(4), masked=True).tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("index", "num_nodes"),
    [([0] * 1000 + list(range(1, 1000)), 1000), ([], 5), ([], 0)],
    ids=["hub", "no edges", "no nodes"],
)
def test_hubs_and_graphs_without_edges_have_no_table(index: list[int], num_nodes: int) -> None:
    assert neighbor_table(torch.tensor(index, dtype=torch.long), num_nodes) is None
