"""Linear maps between irreps."""

import math

import torch
from e3nn.o3 import Irrep, Irreps
from einops import rearrange
from torch import Tensor, nn

from ..kernels import Outer, Part, mapped_product
from ..o3 import SCALAR, Blocks, CouplingPlan, Layout
from .irreps_module import IrrepsModule


class _TypeWeights(nn.Module):
    """One matrix [C_in, C_out] per irrep type that input and output share, and a bias for 0e."""

    def __init__(self, fan_in: dict[Irrep, int], layout_out: Layout, bias: bool) -> None:
        super().__init__()
        self.weight = nn.ParameterDict(
            {
                str(ir): nn.Parameter(torch.empty(fan_in[ir], mul))
                for ir, mul in zip(layout_out.types, layout_out.channels)
                if fan_in.get(ir, 0) > 0
            }
        )
        num_bias = sum(m for ir, m in zip(layout_out.types, layout_out.channels) if ir == SCALAR)
        self.bias = nn.Parameter(torch.empty(num_bias)) if bias and num_bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in self.weight.values():
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[0]))
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Linear(IrrepsModule):
    r"""Equivariant linear map, one matrix per irrep type, bias on 0e only.

    .. math:: y_{l} = x_{l} W_{l} + b \, [l = 0e]

    Output types that the input lacks are zero (plus bias). Initial values: N(0, 1)/√fan-in, bias 0.

    Args:
        irreps_in, irreps_out: irreps of input and output.
        bias: whether 0e channels have a bias.

    Shapes:
        flat [N, irreps_in.dim] → [N, irreps_out.dim], or blocks → blocks.

    Example:
        >>> Linear("8x0e+4x1e", "6x0e+2x1e")(torch.zeros(5, 20)).shape
        torch.Size([5, 12])
    """

    def __init__(self, irreps_in: Irreps | str, irreps_out: Irreps | str, bias: bool = True) -> None:
        super().__init__(irreps_in, irreps_out)
        fan_in = dict(zip(self.layout_in.types, self.layout_in.channels))
        self.types = _TypeWeights(fan_in, self.layout_out, bias)
        sources = [self.layout_in.find(ir) for ir in self.layout_out.types]
        self._outputs = list(zip(self.layout_out.names, self.layout_out.dims, self.layout_out.channels, sources))

    def reset_parameters(self) -> None:
        self.types.reset_parameters()

    def blocks(self, x: Blocks) -> Blocks:
        out = []
        for name, d, mul, source in self._outputs:
            bias = self.types.bias if name == "0e" else None
            if source is None:
                y = x[0].new_zeros(*x[0].shape[:-2], d, mul)
                y = y if bias is None else y + bias
            else:
                y = x[source] @ self.types.weight[name]
                y = y if bias is None else y + bias
            out.append(y)
        return out


class PathLinear(nn.Module):
    r"""Linear map of the outputs of a depthwise tensor product, on edges or, after the sum, on nodes and heads.

    Takes the product pair by pair as the kernels return it and never concatenates it on edges.

    Args:
        plan: the product's plan.
        irreps_out: irreps of the output.
        bias: whether 0e channels have a bias.
    """

    def __init__(self, plan: CouplingPlan, irreps_out: Irreps | str, bias: bool = True) -> None:
        super().__init__()
        self.plan = plan
        self.layout_out = Layout(irreps_out)
        self.types = _TypeWeights(dict(zip(plan.types, plan.channels_out)), self.layout_out, bias)
        #: Name and channels of each type of the product; compilers cannot look into irreps.
        self.rows = [(str(ir), channels) for ir, channels in zip(plan.types, plan.channels_out)]
        sources = [plan.types.index(ir) if ir in plan.types else -1 for ir in self.layout_out.types]
        self._outputs = list(zip(self.layout_out.names, self.layout_out.dims, self.layout_out.channels, sources))

    @property
    def irreps_in(self) -> Irreps:
        return self.plan.irreps_out

    @property
    def irreps_out(self) -> Irreps:
        return self.layout_out.irreps

    def reset_parameters(self) -> None:
        self.types.reset_parameters()

    def _matrix(self, name: str, source: int, path_weight: Tensor | None) -> Tensor:
        """Return the matrix [Σ P·C, C_out] of an output type; rows times shared path weights, if given."""
        weight = self.types.weight[name]
        if path_weight is None:
            return weight
        sizes = [pair.numel for pair in self.plan.pairs]
        rows = [w for w, p in zip(torch.split(path_weight, sizes), self.plan.pairs) if p.i_out == source]
        return torch.cat(rows).unsqueeze(1) * weight

    def forward(self, parts: list[list[Part]], path_weight: Tensor | None = None) -> Blocks:
        """Map per-pair products [E, d, P·C], or their factors, to blocks [E, d, C_out]."""
        out = []
        first = parts[0][0]
        like = first.x if isinstance(first, Outer) else first
        for name, d, mul, source in self._outputs:
            bias = self.types.bias if name == "0e" else None
            if source < 0:
                y = like.new_zeros(like.shape[0], d, mul)
                out.append(y if bias is None else y + bias)
                continue
            out.append(self._sum(parts[source], self._matrix(name, source, path_weight), bias))
        return out

    def finish(self, pieces: dict[str, list[Tensor]], like: Tensor) -> Blocks:
        """Take this map's turn from the mapped products of each output type; add the bias."""
        out = []
        for name, d, mul, source in self._outputs:
            y = pieces[name].pop(0) if source >= 0 else like.new_zeros(pieces["0e"][0].shape[0], d, mul)
            out.append(y + self.types.bias if name == "0e" and self.types.bias is not None else y)
        return out

    @staticmethod
    def _sum(pieces: list[Part], weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return Σ piece · rows + bias; an outer product is mapped before it is formed."""
        rows = torch.split(weight, [p.x.shape[-1] if isinstance(p, Outer) else p.shape[-1] for p in pieces])
        y = None
        for piece, row in zip(pieces, rows):
            if isinstance(piece, Outer):
                term = Outer(piece.y, nn.functional.linear(piece.x, row.t())).dense()
            else:
                term = nn.functional.linear(piece, row.t())
            y = term if y is None else y + term
        assert y is not None  # every reached type has a piece
        return y if bias is None else y + bias

    def per_head(
        self,
        parts: list[list[Tensor]],
        heads: int,
        alpha_sum: Tensor,
        path_weight: Tensor | None = None,
        kv_heads: int | None = None,
    ) -> Blocks:
        r"""Map summed products [N, H, d, P·C] to blocks [N, d, C_out]; head h gives its own C_out / H channels.

        With fewer `kv_heads` G this map has G sets of channels, each for H / G heads in a row, and C_out = H / G times
        its own channels.
        Trailing pairs may be missing; they count as zero. The bias was to be added to every value before
        the weighted sum, so it comes times
        :math:`\sum_j \alpha_{ij,h}` [N, H], which is not 1 under dropout and for isolated atoms.
        """
        out, groups = [], heads if kv_heads is None else kv_heads
        for name, d, mul, source in self._outputs:
            pieces = parts[source] if source >= 0 else []
            if not pieces:
                y = alpha_sum.new_zeros(alpha_sum.shape[0], d, mul * heads // groups)
            else:
                # Heads in front, which concatenating does on the way: one matrix product per head then.
                u = torch.cat([piece.transpose(0, 1) for piece in pieces], dim=-1)
                rows = rearrange(self._matrix(name, source, path_weight)[: u.shape[-1]], "k (g c) -> g k c", g=groups)
                rows = share_heads(rows, heads, dim=0)
                y = rearrange(torch.bmm(u.flatten(1, 2), rows), "h (n m) c -> n m (h c)", m=d)
            if name == "0e" and self.types.bias is not None:
                bias = share_heads(rearrange(self.types.bias, "(g c) -> g c", g=groups), heads, dim=0)
                share = rearrange(alpha_sum, "n h -> n h 1") * bias
                y = y + rearrange(share, "n h c -> n 1 (h c)")
            out.append(y)
        return out

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}"


def share_heads(x: Tensor, heads: int, dim: int) -> Tensor:
    """Return x with an axis of key-value heads repeated to that of all heads, heads of a group in a row."""
    groups = x.shape[dim]
    return x if groups == heads else x.repeat_interleave(heads // groups, dim=dim)


def map_product(
    plan: CouplingPlan, matrices: list[Tensor], x: Blocks, weight: Tensor, linears: list[PathLinear]
) -> list[Blocks]:
    """Return the depthwise product after each of several linear maps, without storing it, see `mapped_product`."""
    maps, widths = [], []
    for name, channels in linears[0].rows:
        own = [lin.types.weight[name] for lin in linears if name in lin.types.weight]
        widths.append([w.shape[1] for w in own])
        maps.append(torch.cat(own, dim=1) if own else weight.new_zeros(channels, 0))
    mapped = mapped_product(plan, matrices, x, weight, maps)
    names = [name for name, _ in linears[0].rows]
    pieces = {name: list(torch.split(y, w, dim=-1)) if w else [] for name, y, w in zip(names, mapped, widths)}
    return [lin.finish(pieces, weight) for lin in linears]
