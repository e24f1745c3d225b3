"""`radius_graph`: all pairs of atoms of one graph that are closer than a cutoff."""

from itertools import groupby
from typing import Literal, get_args

import torch
from torch import Tensor

from .dense import dense_edges
from .graphs import graph_by_graph
from .inputs import check_cutoff, check_max_num_neighbors, check_positions
from .libraries import check_library, has_nvalchemi, has_vesin, nvalchemi_edges, vesin_edges

Engine = Literal["auto", "dense", "vesin", "nvalchemi"]

#: Atoms in a graph from which vesin beats dense distances on the CPU. Measured on one core: from 600 atoms at
#: 0.1 atoms/Å³ and 5 Å (at 2,000: 6 against 15 ms), from 300 at 3 Å, from 1,500 at 0.05 atoms/Å³ and 10 Å.
VESIN_FROM = 600
#: The same for nvalchemi on CUDA. Not measured: an estimate from the pairs a GPU can visit in a millisecond.
NVALCHEMI_FROM = 10_000


def radius_graph(
    pos: Tensor,
    r: float,
    batch: Tensor | None = None,
    max_num_neighbors: int | None = None,
    *,
    engine: Engine = "auto",
) -> Tensor:
    r"""Connect all atoms of the same graph that are closer than `r`.

    .. math::
        \{(j, i) : \lVert \mathrm{pos}_j - \mathrm{pos}_i \rVert < r,\; j \neq i,\;
        \mathrm{batch}_j = \mathrm{batch}_i\}

    Every pair is there in both directions, without self loops and without a hidden limit on their number.
    Edges are sorted by target, then by source. Their order is the same from every engine, as is the decision
    about pairs at the cutoff: it is that of `(pos[j] - pos[i]).norm(dim=-1) < r` in the precision of `pos`.
    Atoms at the same place are neighbours. The result carries no gradient.

    Engines: `"dense"` computes all distances within a graph, in blocks of bounded memory, on every device.
    `"vesin"` (CPU, extra `train`) and `"nvalchemi"` (made for CUDA, extra `gpu`; run on the CPU only so far)
    search large graphs in linear time. A graph whose shape or cutoff would not fit vesin's grid of cells
    (needles, far outliers) goes through the dense engine. `"auto"` takes dense distances for small graphs
    and, where installed, a library for large ones (vesin from 600 atoms in a graph on the CPU, nvalchemi from
    10,000 on CUDA).

    Inside `torch.compile` the function runs eagerly and breaks the graph: for `fullgraph=True`, call it
    outside and hand `edge_index` to the compiled part.

    Args:
        pos: positions [N, 3] in Å, float32 or float64.
        r: cutoff in Å.
        batch: graph of each atom [N], integers ≥ 0, in any order and with gaps if need be; `None` for one
            graph. Sorted input saves a sort.
        max_num_neighbors: if given, only that many nearest sources are kept per target (the lower index at
            equal distance). The graph is then no longer symmetric, nor smooth in the positions.
        engine: how neighbours are found; it never changes the result.

    Returns:
        `edge_index` [2, E], int64: sources j in row 0, targets i in row 1.

    Raises:
        ValueError: if an argument has the wrong shape, type, device or range, a position is not finite, or
            the requested engine does not run on this device.
        ImportError: if the package of the requested engine is not installed.

    Example:
        >>> pos = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
        >>> radius_graph(pos, r=2.5)
        tensor([[1, 0, 2, 1],
                [0, 1, 1, 2]])
        >>> radius_graph(pos, r=2.5, batch=torch.tensor([0, 1, 0])).shape
        torch.Size([2, 0])
    """
    if engine not in get_args(Engine):
        raise ValueError(f"expected engine to be one of {get_args(Engine)}, got {engine!r}")
    r, limit = check_cutoff(r), check_max_num_neighbors(max_num_neighbors)
    return _radius_graph(pos, r, batch, limit, engine)


@torch.compiler.disable  # sizes depend on the data: there is nothing to compile
@torch.no_grad()
def _radius_graph(pos: Tensor, r: float, batch: Tensor | None, limit: int | None, engine: Engine) -> Tensor:
    pos = check_positions(pos)
    check_library(engine, pos.device)
    return graph_by_graph(pos, batch, lambda xyz, sizes: _edges_of_sorted(xyz, sizes, r, limit, engine))


def _edges_of_sorted(pos: Tensor, sizes: list[int], r: float, limit: int | None, engine: Engine) -> Tensor:
    """Edges of consecutive graphs of `sizes` atoms, engine by engine."""
    parts = [pos.new_empty(2, 0, dtype=torch.int64)]
    start = 0
    for name, run in groupby(sizes, key=lambda size: _engine_for(size, pos.device, engine)):
        graphs = list(run)
        stop = start + sum(graphs)
        find = {"dense": dense_edges, "vesin": vesin_edges, "nvalchemi": nvalchemi_edges}[name]
        parts.append(find(pos[start:stop], graphs, r, limit).add_(start))
        start = stop
    return torch.cat(parts, dim=1)


def _engine_for(size: int, device: torch.device, engine: Engine) -> Engine:
    if engine != "auto":
        return engine
    if size >= VESIN_FROM and device.type == "cpu" and has_vesin():
        return "vesin"
    if size >= NVALCHEMI_FROM and device.type == "cuda" and has_nvalchemi():
        return "nvalchemi"
    return "dense"
