"""Which irreps couple to which, and with what coefficients: the depthwise tensor product's plan."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from e3nn.o3 import Irrep, Irreps, wigner_3j
from torch import Tensor

from .layout import SCALAR, Layout


@dataclass(frozen=True)
class Pair:
    """All paths from one input type to one output type; they differ in the harmonic they use."""

    i_in: int  #: block of the input
    i_out: int  #: type of the output
    harmonics: tuple[int, ...]  #: entries of irreps_sh, in order
    d_in: int
    d_out: int
    channels: int  #: of the input; the pair has len(harmonics) * channels weights

    @property
    def numel(self) -> int:
        return len(self.harmonics) * self.channels


@dataclass(frozen=True)
class Slot:
    """Where a pair finds its part of tensors that hold all pairs."""

    pair: Pair
    rows: slice  #: (m_out, path) of this pair among those that its input type couples to
    columns: slice  #: (path, channel) of this pair among those of its output type
    weights: slice


@dataclass(frozen=True)
class CouplingPlan:
    r"""Paths of a depthwise tensor product :math:`(x \otimes Y)_{l_3}` and their coefficients.

    A path couples channel c of input type 1 with harmonic 2 to output type 3 with coefficient
    :math:`\sqrt{2 l_3 + 1}` times e3nn's 3j symbol. Outputs are the types in `irreps_filter` and 0e.

    Attributes:
        types: output types, by degree, even parity first.
        pairs: sorted by (output, input); each owns `numel` consecutive weights.
        coefficients: `[irreps_sh.dim, Σ d_in·d_out·paths]`: harmonics times this matrix gives, pair by pair,
            the matrix `[d_in, d_out·paths]` that maps components of the input to those of the output.
        grouped: `coefficients` with columns by input type: (input m, then the rows of all its pairs).
        slots: the pairs with their places, in the order of `pairs`.
        rows: per input type, the number of (output m, path) that it couples to.
        key: a text that is the same for plans with the same matrices.
    """

    layout_in: Layout
    irreps_sh: Irreps
    types: list[Irrep]
    pairs: list[Pair]
    coefficients: Tensor = field(compare=False, repr=False)
    grouped: Tensor = field(compare=False, repr=False)
    slots: list[Slot] = field(compare=False, repr=False)
    rows: list[int] = field(compare=False, repr=False)
    key: str = field(compare=False, repr=False)

    @property
    def weight_numel(self) -> int:
        return sum(pair.numel for pair in self.pairs)

    @property
    def channels_out(self) -> list[int]:
        return [sum(p.numel for p in self.pairs if p.i_out == k) for k in range(1 + self.pairs[-1].i_out)]

    @property
    def irreps_out(self) -> Irreps:
        return Irreps(list(zip(self.channels_out, self.types)))

    @property
    def sizes(self) -> list[int]:
        """Columns of `coefficients` per pair."""
        return [p.d_in * p.d_out * len(p.harmonics) for p in self.pairs]


def _slots(layout_in: Layout, types: list[Irrep], pairs: list[Pair]) -> list[Slot]:
    rows, columns = [0] * len(layout_in.types), [0] * len(types)
    out, weights = [], 0
    for p in pairs:
        r, c = rows[p.i_in], columns[p.i_out]
        rows[p.i_in] += p.d_out * len(p.harmonics)
        columns[p.i_out] += p.numel
        places = slice(r, rows[p.i_in]), slice(c, columns[p.i_out]), slice(weights, weights + p.numel)
        out.append(Slot(p, *places))
        weights += p.numel
    return out


def _grouped(layout_in: Layout, pairs: list[Pair], columns: list[Tensor]) -> Tensor:
    """Return the columns of all pairs by input type: (input m, then the rows of its pairs)."""
    out = []
    for k, d in enumerate(layout_in.dims):
        own = [part.unflatten(1, (d, -1)) for p, part in zip(pairs, columns) if p.i_in == k]
        out += [torch.cat(own, dim=2).flatten(1)] if own else []
    return torch.cat(out, dim=1)


@lru_cache(maxsize=1024)  # equal layers share one plan, and the matrices of its harmonics
def coupling_plan(layout_in: Layout, irreps_sh: Irreps, irreps_filter: Irreps) -> CouplingPlan:
    """Return the plan of the depthwise product of `layout_in` with harmonics, kept to `irreps_filter` and 0e.

    Raises:
        ValueError: if no path leads to any wanted irrep.

    Example:
        >>> coupling_plan(Layout("4x0e+2x1e"), Irreps("0e+1e"), Irreps("0e+1e")).irreps_out
        6x0e+8x1e
    """
    wanted = {ir for _, ir in irreps_filter} | {SCALAR}
    paths: dict[tuple[Irrep, int], list[int]] = {}
    for i_in, ir_in in enumerate(layout_in.types):
        for j, (_, ir_sh) in enumerate(irreps_sh):
            for ir_out in ir_in * ir_sh:
                if ir_out in wanted:
                    paths.setdefault((ir_out, i_in), []).append(j)
    if not paths:
        raise ValueError(f"{layout_in.irreps} times {irreps_sh} never gives any of {irreps_filter}")
    types = sorted({ir for ir, _ in paths}, key=lambda ir: (ir.l, -ir.p))
    pairs, columns = [], []
    for i_out, ir_out in enumerate(types):
        for i_in, ir_in in enumerate(layout_in.types):
            harmonics = paths.get((ir_out, i_in), [])
            if harmonics:
                pairs.append(Pair(i_in, i_out, tuple(harmonics), ir_in.dim, ir_out.dim, layout_in.channels[i_in]))
                columns.append(_coefficients(ir_in, ir_out, harmonics, irreps_sh))
    rows = [0] * len(layout_in.types)
    for p in pairs:
        rows[p.i_in] += p.d_out * len(p.harmonics)
    paths_of_pairs = [(str(types[p.i_out]), p.i_in, p.harmonics) for p in pairs]
    key = f"{layout_in.canonical} x {irreps_sh} -> {paths_of_pairs}"
    slots, grouped = _slots(layout_in, types, pairs), _grouped(layout_in, pairs, columns)
    return CouplingPlan(layout_in, irreps_sh, types, pairs, torch.cat(columns, dim=1), grouped, slots, rows, key)


def _coefficients(ir_in: Irrep, ir_out: Irrep, harmonics: list[int], irreps_sh: Irreps) -> Tensor:
    """Return `[irreps_sh.dim, d_in * d_out * paths]` with columns ordered (input m, output m, path)."""
    out = torch.zeros(irreps_sh.dim, ir_in.dim, ir_out.dim, len(harmonics), dtype=torch.float64)
    slices = irreps_sh.slices()
    for p, j in enumerate(harmonics):
        w3j = wigner_3j(ir_in.l, irreps_sh[j].ir.l, ir_out.l, dtype=torch.float64)
        out[slices[j], :, :, p] = math.sqrt(ir_out.dim) * w3j.transpose(0, 1)
    return out.flatten(1)
