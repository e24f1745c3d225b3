"""The depthwise product and the linear maps behind it in one pass over chunks of edges: nothing of it is stored."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..o3 import Blocks, CouplingPlan, Slot

#: Edges per chunk: few enough for the caches of a processor, enough for the calls not to count.
CHUNK = {"cpu": 2560, "cuda": 65536}


class Arguments(NamedTuple):
    """The tensors of a call; edges are numbered (direction, edge) where weights belong to undirected pairs."""

    plan: CouplingPlan
    matrices: list[Tensor]
    x: Blocks
    weight: Tensor
    maps: list[Tensor]

    @classmethod
    def of(cls, plan: CouplingPlan, flat: tuple[Tensor, ...]) -> "Arguments":
        n, m = len(plan.layout_in.types), len(plan.types)
        return cls(plan, list(flat[:n]), list(flat[n : 2 * n]), flat[2 * n], list(flat[2 * n + 1 : 2 * n + 1 + m]))

    def chunks(self) -> Iterator[tuple[slice, slice]]:
        """Yield the edges and the weights of each chunk."""
        rows, edges, step = self.weight.shape[0], self.x[0].shape[0], self.step()
        for k in range(0, rows, step):
            for start in range(0, edges, rows):
                end = min(k + step, rows)
                yield slice(start + k, start + end), slice(k, end)

    def step(self) -> int:
        """Return the number of edges in a chunk, about the same in all."""
        rows, most = self.weight.shape[0], CHUNK.get(self.weight.device.type, CHUNK["cuda"])
        return math.ceil(rows / math.ceil(rows / most))


def maps_first(slot: Slot) -> bool:
    """Tell whether a pair is mapped before it is coupled: where the coupling gives more components than it takes."""
    return slot.pair.d_in < slot.pair.d_out


class _Room(NamedTuple):
    """Room for a chunk of e edges, whole and as the views that the pairs need."""

    u: list[Tensor]  #: coupled inputs [e, R, C]
    v: list[Tensor]  #: weighted products [e, d, K], of pairs that are mapped first left out
    rows: list[Tensor]  #: of each pair in U, [e, d_out, P, C]
    columns: list[Tensor]  #: of each pair in V, [e, d_out, P, C]; anything where mapped first


class _Buffers:
    """Room for chunks, used again by the next."""

    def __init__(self, a: Arguments) -> None:
        edges, new = a.step(), a.weight.new_empty
        self.slots = a.plan.slots
        #: Rows of each map that belong to pairs that are mapped first; they come first.
        self.first = [
            sum(s.pair.numel for s in self.slots if maps_first(s) and s.pair.i_out == o) for o in range(len(a.maps))
        ]
        dims = [ir.dim for ir in a.plan.types]
        rows = [0] * len(a.x)
        for s in self.slots:
            if not maps_first(s):
                rows[s.pair.i_in] = s.rows.stop  # pairs are sorted by output, so those mapped first come last
        u = [new(edges, n, x.shape[2]) for n, x in zip(rows, a.x)]
        v = [new(edges, d, w.shape[0] - n) for d, w, n in zip(dims, a.maps, self.first)]
        self.whole = self._room(u, v)
        self._made = {edges: self.whole}

    def take(self, edges: int) -> _Room:
        """Return the room of the first edges; making its views takes time, so it is kept."""
        if edges not in self._made:
            self._made[edges] = self._room([t[:edges] for t in self.whole.u], [t[:edges] for t in self.whole.v])
        return self._made[edges]

    def _room(self, u: list[Tensor], v: list[Tensor]) -> _Room:
        rows, columns = [], []
        for s in self.slots:
            p, paths = s.pair, (len(s.pair.harmonics), s.pair.channels)
            if maps_first(s):
                rows.append(u[p.i_in])
                columns.append(u[p.i_in])
                continue
            rows.append(u[p.i_in][:, s.rows].unflatten(1, (p.d_out, paths[0])))
            start, stop = s.columns.start - self.first[p.i_out], s.columns.stop - self.first[p.i_out]
            columns.append(v[p.i_out][:, :, start:stop].unflatten(2, paths))
        return _Room(u, v, rows, columns)


def _weights(plan: CouplingPlan, weight: Tensor) -> list[Tensor]:
    """Return the weights of each pair, [e, 1, P, C]."""
    cut = torch.split(weight, [s.pair.numel for s in plan.slots], dim=1)
    return [w.unflatten(1, (1, len(s.pair.harmonics), s.pair.channels)) for w, s in zip(cut, plan.slots)]


def _couple(a: Arguments, room: _Room, edges: slice, weights: list[Tensor]) -> None:
    """Fill U and V of a chunk."""
    for into, t, x in zip(room.u, a.matrices, a.x):
        if x.shape[1] > 1:
            torch.bmm(t[edges, :, : into.shape[1]].transpose(1, 2), x[edges], out=into)
    for s, w, rows, columns in zip(a.plan.slots, weights, room.rows, room.columns):
        if maps_first(s):
            continue
        if s.pair.d_in == 1:
            k = s.pair.i_in
            torch.mul(a.matrices[k][edges, :, s.rows], a.x[k][edges], out=room.u[k][:, s.rows])
        torch.mul(rows, w, out=columns)


def forward_in_chunks(a: Arguments) -> list[Tensor]:
    """Return the mapped product, see `mapped_product`."""
    num_edges = a.x[0].shape[0]
    out = [a.weight.new_empty(num_edges, ir.dim, w.shape[1]) for ir, w in zip(a.plan.types, a.maps)]
    b = _Buffers(a)
    for edges, rows in a.chunks():
        weights, room = _weights(a.plan, a.weight[rows]), b.take(rows.stop - rows.start)
        _couple(a, room, edges, weights)
        for y, dense, w, n in zip(out, room.v, a.maps, b.first):
            torch.mm(dense.flatten(0, 1), w[n:], out=y[edges].flatten(0, 1))
        for s, w in zip(a.plan.slots, weights):
            if maps_first(s):
                y, x, matrices = out[s.pair.i_out][edges], a.x[s.pair.i_in][edges], _by_path(a, s, edges)
                for p, (t, m) in enumerate(zip(matrices, _maps(a, s))):
                    t = t.contiguous()  # products of matrices with gaps between their numbers are slow
                    z = (x * w[:, :, p]) @ m
                    y.addcmul_(t.transpose(1, 2), z) if s.pair.d_in == 1 else y.baddbmm_(t.transpose(1, 2), z)
    return out


def _by_path(a: Arguments, s: Slot, edges: slice) -> tuple[Tensor, ...]:
    """Return the coupling matrices of the paths of a pair, [e, d_in, d_out] each."""
    return a.matrices[s.pair.i_in][edges, :, s.rows].unflatten(2, (s.pair.d_out, -1)).unbind(3)


def _maps(a: Arguments, s: Slot) -> tuple[Tensor, ...]:
    """Return the maps of the paths of a pair, [C, O] each."""
    return torch.split(a.maps[s.pair.i_out][s.columns], s.pair.channels)


class Gradients(NamedTuple):
    """Room for the gradients by all arguments; None for matrices where nobody asks for theirs."""

    matrices: list[Tensor] | None
    x: Blocks
    weight: Tensor
    maps: list[Tensor]


def gradient_in_chunks(a: Arguments, gy: list[Tensor], of_matrices: bool) -> Gradients:
    """Return the gradients by all arguments for given ones by the result."""
    like = torch.contiguous_format
    g = Gradients(
        [torch.zeros_like(t, memory_format=like) for t in a.matrices] if of_matrices else None,
        [(torch.zeros_like if x.shape[1] == 1 else torch.empty_like)(x, memory_format=like) for x in a.x],
        torch.empty_like(a.weight, memory_format=like),
        [torch.zeros_like(w, memory_format=like) for w in a.maps],
    )
    b, into = _Buffers(a), _Buffers(a)
    for edges, rows in a.chunks():
        size = rows.stop - rows.start
        weights, room, by = _weights(a.plan, a.weight[rows]), b.take(size), into.take(size)
        _couple(a, room, edges, weights)
        ours = [y[edges] for y in gy]
        for y, dense, grad, w, gw, n in zip(ours, room.v, by.v, a.maps, g.maps, b.first):
            torch.mm(y.flatten(0, 1), w[n:].t(), out=grad.flatten(0, 1))
            gw[n:].addmm_(dense.flatten(0, 1).t(), y.flatten(0, 1))
        if edges.start == rows.start:  # of several edges with the same weights the first
            g.weight[rows] = 0
        _uncouple(a, g, edges, weights, _weights(a.plan, g.weight[rows]), room, by, ours)
    return g


def _uncouple(
    a: Arguments, g: Gradients, edges: slice, weights: list[Tensor], of_weights: list[Tensor], room: _Room, by: _Room,
    gy: list[Tensor],
) -> None:  # fmt: skip
    """Go back through weights and coupling, from the gradients by V in `by.v`; those by U go to `by.u`."""
    for n, s in enumerate(a.plan.slots):
        if maps_first(s):
            continue
        torch.mul(by.columns[n], weights[n], out=by.rows[n])
        if s.pair.d_out == 1:
            of_weights[n].addcmul_(by.columns[n], room.rows[n])
        else:
            of_weights[n].add_(by.columns[n].mul_(room.rows[n]).sum(1, keepdim=True))
    for k, (t, x) in enumerate(zip(a.matrices, a.x)):
        if x.shape[1] > 1:
            n = room.u[k].shape[1]  # rows of pairs that are mapped first come last, and are none of U's
            torch.bmm(t[edges, :, :n], by.u[k], out=g.x[k][edges])
            if g.matrices is not None:
                g.matrices[k][edges, :, :n] = torch.bmm(x[edges], by.u[k].transpose(1, 2))
    for n, s in enumerate(a.plan.slots):
        k = s.pair.i_in
        if maps_first(s):
            _gradient_mapped_first(a, g, edges, s, weights[n], of_weights[n], gy[s.pair.i_out])
        elif s.pair.d_in == 1:
            g.x[k][edges].addcmul_(by.u[k][:, s.rows], a.matrices[k][edges, :, s.rows])
            if g.matrices is not None:
                g.matrices[k][edges, :, s.rows] = (by.u[k][:, s.rows] * a.x[k][edges]).sum(2, keepdim=True)


def _gradient_mapped_first(
    a: Arguments, g: Gradients, edges: slice, s: Slot, weight: Tensor, of_weight: Tensor, gy: Tensor
) -> None:
    """Add the gradients of a pair that is mapped before it is coupled."""
    k = s.pair.i_in
    x, of_x = a.x[k][edges], g.x[k][edges]
    of_maps = torch.split(g.maps[s.pair.i_out][s.columns], s.pair.channels)
    of_t = None if g.matrices is None else _by_path(a._replace(matrices=g.matrices), s, edges)
    for p, (t, m) in enumerate(zip(_by_path(a, s, edges), _maps(a, s))):
        w, t = weight[:, :, p], t.contiguous()
        xw, gz = x * w, torch.bmm(t, gy)
        of_maps[p].addmm_(xw.flatten(0, 1).t(), gz.flatten(0, 1))
        grad = gz @ m.t()
        of_x.addcmul_(grad, w)
        if of_t is not None:
            of_t[p].copy_(torch.bmm(xw @ m, gy.transpose(1, 2)))
        by_w = grad.mul_(x)
        of_weight[:, :, p].add_(by_w if s.pair.d_in == 1 else by_w.sum(1, keepdim=True))
