"""The depthwise product and the linear maps behind it in one pass over chunks of edges: nothing of it is stored."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..o3 import Blocks, CouplingPlan, Slot

#: Edges per chunk: few enough for the caches of a processor, enough for the calls not to count.
CHUNK = {"cpu": 1024, "cuda": 65536}


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
        rows, edges, step = self.weight.shape[0], self.x[0].shape[0], _step(self.weight)
        for k in range(0, rows, step):
            for start in range(0, edges, rows):
                end = min(k + step, rows)
                yield slice(start + k, start + end), slice(k, end)


def _step(x: Tensor) -> int:
    return CHUNK.get(x.device.type, CHUNK["cuda"])


def is_outer(slot: Slot) -> bool:
    """Tell whether a pair couples a scalar to a harmonic: then it is mapped before it is multiplied out."""
    return slot.pair.d_in == 1 and slot.pair.d_out > 1


class _Buffers:
    """Room for a chunk, used again by the next: coupled inputs U [e, R, C] and weighted products V [e, d, K]."""

    def __init__(self, a: Arguments) -> None:
        edges, new, slots = min(a.weight.shape[0], _step(a.weight)), a.weight.new_empty, a.plan.slots
        self.u = [new(edges, t.shape[2], x.shape[2]) for t, x in zip(a.matrices, a.x)]
        #: Rows of each map that belong to outer pairs; they come first.
        self.outer = [sum(s.pair.numel for s in slots if is_outer(s) and s.pair.i_out == o) for o in range(len(a.maps))]
        dims = [ir.dim for ir in a.plan.types]
        self.v = [new(edges, d, w.shape[0] - n) for d, w, n in zip(dims, a.maps, self.outer)]

    def take(self, edges: int) -> tuple[list[Tensor], list[Tensor]]:
        return [t[:edges] for t in self.u], [t[:edges] for t in self.v]

    def columns(self, slot: Slot, v: list[Tensor]) -> Tensor:
        """Return the columns of a pair in V, [e, d_out, P, C]."""
        p, n = slot.pair, self.outer[slot.pair.i_out]
        own = v[p.i_out][:, :, slot.columns.start - n : slot.columns.stop - n]
        return own.unflatten(2, (len(p.harmonics), p.channels))


def _rows(slot: Slot, u: list[Tensor]) -> Tensor:
    """Return the rows of a pair in U, [e, d_out, P, C]."""
    return u[slot.pair.i_in][:, slot.rows].unflatten(1, (slot.pair.d_out, len(slot.pair.harmonics)))


def _weights(slot: Slot, weight: Tensor) -> Tensor:
    """Return the weights of a pair, [e, 1, P, C]."""
    return weight[:, slot.weights].unflatten(1, (1, len(slot.pair.harmonics), slot.pair.channels))


def _couple(a: Arguments, b: _Buffers, edges: slice, weight: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Fill U and V of a chunk and return them."""
    u, v = b.take(weight.shape[0])
    for into, t, x in zip(u, a.matrices, a.x):
        if x.shape[1] > 1:
            torch.bmm(t[edges].transpose(1, 2), x[edges], out=into)
    for s in a.plan.slots:
        if is_outer(s):
            continue
        if s.pair.d_in == 1:
            torch.mul(a.matrices[s.pair.i_in][edges, :, s.rows], a.x[s.pair.i_in][edges], out=u[s.pair.i_in][:, s.rows])
        torch.mul(_rows(s, u), _weights(s, weight), out=b.columns(s, v))
    return u, v


def forward_in_chunks(a: Arguments) -> list[Tensor]:
    """Return the mapped product, see `mapped_product`."""
    num_edges = a.x[0].shape[0]
    out = [a.weight.new_empty(num_edges, ir.dim, w.shape[1]) for ir, w in zip(a.plan.types, a.maps)]
    b = _Buffers(a)
    for edges, rows in a.chunks():
        weight = a.weight[rows]
        _, v = _couple(a, b, edges, weight)
        for y, dense, w, n in zip(out, v, a.maps, b.outer):
            torch.mm(dense.flatten(0, 1), w[n:], out=y[edges].flatten(0, 1))
        for s in a.plan.slots:
            if is_outer(s):
                p = s.pair
                z = (a.x[p.i_in][edges].squeeze(1) * weight[:, s.weights]) @ a.maps[p.i_out][s.columns]
                out[p.i_out][edges].addcmul_(a.matrices[p.i_in][edges, :, s.rows].transpose(1, 2), z.unsqueeze(1))
    return out


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
        [torch.zeros_like(x, memory_format=like) for x in a.x],
        torch.zeros_like(a.weight, memory_format=like),
        [torch.zeros_like(w, memory_format=like) for w in a.maps],
    )
    b, into = _Buffers(a), _Buffers(a)
    for edges, rows in a.chunks():
        u, v = _couple(a, b, edges, a.weight[rows])
        gu, gv = into.take(rows.stop - rows.start)
        ours = [y[edges] for y in gy]
        for y, dense, grad, w, gw, n in zip(ours, v, gv, a.maps, g.maps, b.outer):
            torch.mm(y.flatten(0, 1), w[n:].t(), out=grad.flatten(0, 1))
            gw[n:].addmm_(dense.flatten(0, 1).t(), y.flatten(0, 1))
        by_v = [gv[0] if is_outer(s) else into.columns(s, gv) for s in a.plan.slots]
        _uncouple(a, g, edges, rows, (u, gu, by_v), ours)
    return g


def _uncouple(
    a: Arguments, g: Gradients, edges: slice, rows: slice, work: tuple[list[Tensor], list[Tensor], list[Tensor]],
    gy: list[Tensor],
) -> None:  # fmt: skip
    """Go back through weights and coupling; `work` is U, room for its gradient, and the gradient by V of each pair."""
    u, gu, by_v = work
    weight, of_weight = a.weight[rows], g.weight[rows]
    for s, grad in zip(a.plan.slots, by_v):
        if is_outer(s):
            _outer_gradient(a, g, edges, rows, s, gy[s.pair.i_out])
            continue
        torch.mul(grad, _weights(s, weight), out=_rows(s, gu))
        own = _weights(s, of_weight)
        if s.pair.d_out == 1:
            own.addcmul_(grad, _rows(s, u))
        else:
            own.add_(grad.mul_(_rows(s, u)).sum(1, keepdim=True))
    for k, (t, x) in enumerate(zip(a.matrices, a.x)):
        if x.shape[1] > 1:
            torch.bmm(t[edges], gu[k], out=g.x[k][edges])
            if g.matrices is not None:
                torch.bmm(x[edges], gu[k].transpose(1, 2), out=g.matrices[k][edges])
    for s in a.plan.slots:
        if s.pair.d_in == 1 and not is_outer(s):
            k, grad = s.pair.i_in, gu[s.pair.i_in][:, s.rows]
            g.x[k][edges].addcmul_(grad, a.matrices[k][edges, :, s.rows])
            if g.matrices is not None:
                g.matrices[k][edges, :, s.rows] = (grad * a.x[k][edges]).sum(2, keepdim=True)


def _outer_gradient(a: Arguments, g: Gradients, edges: slice, rows: slice, s: Slot, gy: Tensor) -> None:
    """Add the gradients of a pair that is mapped before it is multiplied out."""
    k, m = s.pair.i_in, a.maps[s.pair.i_out][s.columns]
    x, w = a.x[k][edges].squeeze(1), a.weight[rows, s.weights]
    xw = x * w
    gz = torch.bmm(a.matrices[k][edges, :, s.rows], gy).squeeze(1)
    g.maps[s.pair.i_out][s.columns].addmm_(xw.t(), gz)
    grad = gz @ m.t()
    g.weight[rows, s.weights].addcmul_(grad, x)
    g.x[k][edges].squeeze(1).addcmul_(grad, w)
    if g.matrices is not None:
        g.matrices[k][edges, :, s.rows] = torch.bmm(gy, (xw @ m).unsqueeze(2)).transpose(1, 2)
