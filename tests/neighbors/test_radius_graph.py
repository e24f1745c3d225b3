"""`radius_graph` against a slow, obvious double loop, for every engine and device present."""

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyg_equiformer.neighbors import dense, libraries, radius_graph

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
DTYPES = [torch.float32, torch.float64]
ENGINES = ["auto", "dense", "vesin", "nvalchemi"]


def present(device: str) -> list[str]:
    absent = set()
    if not libraries.has_vesin() or device != "cpu":
        absent.add("vesin")
    if not libraries.has_nvalchemi():
        absent.add("nvalchemi")
    return [engine for engine in ENGINES if engine not in absent]


ENGINES_ON_DEVICES = [(engine, device) for device in DEVICES for engine in present(device)]
everywhere = pytest.mark.parametrize(("engine", "device"), ENGINES_ON_DEVICES)


def double_loop(pos: Tensor, r: float, batch: Tensor, limit: int | None = None) -> Tensor:
    """The definition, pair by pair."""
    edges = []
    for i in range(len(pos)):
        near = []
        for j in range(len(pos)):
            distance = (pos[j] - pos[i]).norm()
            if i != j and batch[i] == batch[j] and distance < r:
                near.append((float(distance), j))
        kept = sorted(near)[:limit]
        edges += [(j, i) for j in sorted(j for _, j in kept)]
    return torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()


def box(atoms: int, density: float = 0.1, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(atoms, 3, generator=generator, dtype=dtype) * (atoms / density) ** (1 / 3)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, float, Tensor, int | None]:
    """Unsorted batches with gaps between ids; on a grid many distances and ties are exact."""
    sizes = draw(st.lists(st.integers(1, 9), max_size=4))
    ids = draw(st.lists(st.integers(0, 50), min_size=len(sizes), max_size=len(sizes), unique=True))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    batch = torch.tensor(ids, dtype=torch.int64).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    batch = batch[torch.randperm(len(batch), generator=generator)]
    dtype = draw(st.sampled_from(DTYPES))
    if draw(st.booleans()):
        pos = torch.randint(-2, 3, (len(batch), 3), generator=generator).to(dtype) / 2
        r = draw(st.sampled_from([0.5, 1.0, math.sqrt(0.5), math.sqrt(3.0), 1.5, 10.0]))
    else:
        pos = torch.randn(len(batch), 3, generator=generator, dtype=dtype)
        r = draw(st.floats(0.1, 3.0))
    return pos, r, batch, draw(st.sampled_from([None, None, 1, 2, 5]))


@settings(max_examples=150, deadline=None)
@given(batches())
def test_every_engine_gives_the_edges_of_the_double_loop_in_the_same_order(
    problem: tuple[Tensor, float, Tensor, int | None],
) -> None:
    pos, r, batch, limit = problem
    expected = double_loop(pos, r, batch, limit)
    for engine, device in ENGINES_ON_DEVICES:
        found = radius_graph(pos.to(device), r, batch.to(device), limit, engine=engine)
        assert found.dtype == torch.int64
        assert torch.equal(found.cpu(), expected), (engine, device)


@everywhere
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pair_exactly_at_the_cutoff_is_no_edge_and_just_below_it_is(
    engine: str, device: str, dtype: torch.dtype
) -> None:
    pos = box(40, seed=3, dtype=dtype).to(device)
    for j in range(1, 40, 3):
        distance = (pos[j] - pos[0]).norm()
        above = torch.nextafter(distance, distance.new_tensor(torch.inf))
        pairs = [radius_graph(pos, float(r), engine=engine).t().tolist() for r in (distance, above)]
        assert [j, 0] not in pairs[0]
        assert [0, j] not in pairs[0]
        assert [j, 0] in pairs[1]
        assert [0, j] in pairs[1]


@everywhere
@pytest.mark.parametrize("limit", [None, 7])
def test_engines_agree_bit_for_bit_on_large_graphs_among_small_ones(
    engine: str, device: str, limit: int | None
) -> None:
    sizes = [3, 1500, 1, 40, 700, 2]
    pos = torch.cat([box(size, seed=size) for size in sizes]).to(device)
    batch = torch.arange(len(sizes), device=device).repeat_interleave(torch.tensor(sizes, device=device))
    found = radius_graph(pos, 4.0, batch, limit, engine=engine)
    distance = torch.cdist(pos, pos, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    distance = distance.masked_fill(batch != batch[:, None], torch.inf)
    if limit is not None:
        distance = distance.masked_fill(distance > distance.sort(dim=1).values[:, limit - 1 :][:, :1], torch.inf)
    target, source = (distance < 4.0).nonzero(as_tuple=True)
    assert torch.equal(found, torch.stack([source, target]))


@everywhere
def test_one_hundred_graphs_batched_equal_one_by_one(engine: str, device: str) -> None:
    sizes = [*torch.randint(1, 30, (100,), generator=torch.Generator().manual_seed(1)).tolist(), 300]
    graphs = [box(size, seed=seed).to(device) for seed, size in enumerate(sizes)]
    batch = torch.arange(len(sizes), device=device).repeat_interleave(torch.tensor(sizes, device=device))
    start, edges = 0, []
    for graph in graphs:
        edges.append(radius_graph(graph, 5.0, engine=engine) + start)
        start += len(graph)
    assert torch.equal(radius_graph(torch.cat(graphs), 5.0, batch, engine=engine), torch.cat(edges, dim=1))


@everywhere
def test_permuting_the_atoms_permutes_the_edges(engine: str, device: str) -> None:
    pos, batch = box(60, dtype=torch.float64).to(device), torch.arange(60, device=device) // 20
    new_to_old = torch.randperm(60, generator=torch.Generator().manual_seed(2)).to(device)
    edges = radius_graph(pos, 4.0, batch, engine=engine)
    permuted = radius_graph(pos[new_to_old], 4.0, batch[new_to_old], engine=engine)
    order = (permuted[1] * 60 + permuted[0]).argsort()
    assert torch.equal(order, torch.arange(permuted.shape[1], device=device))  # sorted by target, then source
    assert set(map(tuple, new_to_old[permuted].t().tolist())) == set(map(tuple, edges.t().tolist()))


@everywhere
def test_far_from_the_origin_the_edges_are_the_same(engine: str, device: str) -> None:
    pos = box(300, dtype=torch.float64).to(device)
    assert torch.equal(radius_graph(pos + 1e4, 3.0, engine=engine), radius_graph(pos, 3.0, engine="dense"))


@everywhere
def test_far_from_the_origin_in_float32_engines_round_alike(engine: str, device: str) -> None:
    pos = (box(700) + 1e4).to(device)
    assert torch.equal(radius_graph(pos, 3.0, engine=engine), radius_graph(pos, 3.0, engine="dense"))


@everywhere
def test_no_atoms_one_atom_and_isolated_atoms_have_no_edges(engine: str, device: str) -> None:
    far = torch.arange(4.0, device=device)[:, None] * torch.tensor([9.0, 0.0, 0.0], device=device)
    together = torch.zeros(3, 3, device=device)
    cases = [
        (far[:0], None),
        (far[:0], torch.empty(0, dtype=torch.int64, device=device)),
        (far[:1], None),
        (far, None),
        (together, torch.arange(3, device=device)),
    ]
    for pos, batch in cases:
        edge_index = radius_graph(pos, 5.0, batch, engine=engine)
        assert edge_index.shape == (2, 0)
        assert edge_index.dtype == torch.int64
        assert edge_index.device == pos.device


@everywhere
@pytest.mark.parametrize("r", [1e-30, 1e-3, 1e10, 1e300])
def test_atoms_at_the_same_place_are_neighbours_at_any_cutoff(engine: str, device: str, r: float) -> None:
    edge_index = radius_graph(torch.zeros(60, 3, device=device), r, engine=engine)
    assert edge_index.shape == (2, 60 * 59)


@everywhere
@pytest.mark.parametrize(
    ("scale", "r"),
    [
        ((1e6, 1.0, 1.0), 5.0),  # a needle: vesin 0.6 would end the process
        ((1e4, 1.0, 1.0), 5e3),
        ((60.0, 60.0, 0.0), 5.0),
        ((20.0, 20.0, 20.0), 1e9),
        ((20.0, 20.0, 20.0), 1e-7),
        ((1e12, 1e12, 0.0), 1e10),
    ],
)
def test_shapes_that_suit_no_grid_of_cells_are_handled(
    engine: str, device: str, scale: tuple[float, float, float], r: float
) -> None:
    pos = (torch.rand(800, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(scale)).to(device)
    assert torch.equal(radius_graph(pos, r, engine=engine), radius_graph(pos, r, engine="dense"))


@everywhere
def test_of_equally_near_neighbours_the_lower_index_is_kept(engine: str, device: str) -> None:
    pos = torch.tensor([[0, 0, 0], [0, 0, 2], [1, 0, 0], [0, 1, 0], [-1, 0, 0]], device=device) * 1.0
    edge_index = radius_graph(pos, 2.5, max_num_neighbors=2, engine=engine)
    assert edge_index[0, edge_index[1] == 0].tolist() == [2, 3]


@pytest.mark.parametrize("device", DEVICES)
def test_without_a_limit_every_neighbour_is_kept(device: str) -> None:
    pos = torch.rand(500, 3, device=device)
    assert radius_graph(pos, 2.0).shape[1] == 500 * 499


@everywhere
def test_strided_positions_with_gradient_and_int32_batch_are_accepted(engine: str, device: str) -> None:
    pos, batch = box(50).to(device), torch.arange(50, device=device) // 25
    strided = pos.t().contiguous().t().requires_grad_()
    edge_index = radius_graph(strided, 4.0, batch.int(), engine=engine)
    assert not edge_index.requires_grad
    assert torch.equal(edge_index, radius_graph(pos, 4.0, batch, engine="dense"))


class Recorder(TorchDispatchMode):
    """Names of all operations, and the elements of the largest tensor any of them returned."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
                self.total += tensor.numel()
        return result


def test_dense_distances_of_a_large_graph_stay_within_one_block() -> None:
    with Recorder() as recorder:
        radius_graph(box(3000), 1.0, engine="dense")
    assert dense.CPU_PAIRS / 2 < recorder.largest <= dense.CPU_PAIRS


def test_small_graphs_beside_a_large_one_are_not_padded_to_its_size() -> None:
    sizes = torch.tensor([10] * 50 + [500] + [10] * 50)
    with Recorder() as recorder:
        radius_graph(box(1500), 0.5, torch.arange(101).repeat_interleave(sizes), engine="dense")
    assert recorder.total < 20 * (500**2 + 100 * 10**2)


def test_a_sorted_batch_is_not_sorted_again() -> None:
    pos, batch = box(60), torch.arange(60) // 20
    with Recorder() as recorder:
        radius_graph(pos, 4.0, batch, engine="dense")
    assert not {"sort", "argsort"} & recorder.names


@pytest.mark.parametrize("atoms", [30, 1000])
def test_it_works_inside_compiled_functions_and_function_transforms(atoms: int) -> None:
    pos = box(atoms)

    def energy(pos: Tensor) -> Tensor:
        source, target = radius_graph(pos, 3.0)
        return (pos[source] - pos[target]).square().sum()

    expected = torch.autograd.grad(energy(pos.requires_grad_()), pos)[0]
    torch.testing.assert_close(torch.func.grad(energy)(pos.detach()), expected)
    torch.testing.assert_close(torch.compile(energy, backend="eager")(pos), energy(pos))
    with torch.inference_mode():
        torch.testing.assert_close(energy(pos), energy(pos.detach()))


def test_without_vesin_large_graphs_go_through_the_dense_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    pos = box(900)
    expected = radius_graph(pos, 3.0)
    module = sys.modules["pyg_equiformer.neighbors.radius_graph"]
    monkeypatch.setattr(module, "has_vesin", lambda: False)
    monkeypatch.setattr(module, "vesin_edges", None)
    assert torch.equal(radius_graph(pos, 3.0), expected)
