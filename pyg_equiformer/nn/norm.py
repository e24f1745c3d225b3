"""Norms of equivariant features."""

from typing import Literal

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..kernels import segment_sum, take_rows
from ..o3 import Blocks
from .irreps_module import IrrepsModule

NormKind = Literal["layer", "soft", "fast_layer", "rms", "merged", "graph", "instance", "none"]
NORM_KINDS = ("layer", "soft", "fast_layer", "rms", "merged", "graph", "instance", "none")
SOFT = 0.3  #: ε of higher types in "soft" norms, of the order of the mean squares it is added to; 0.1 and 1 were tried


class EquivariantNorm(IrrepsModule):
    r"""Norm of equivariant features, per irrep type or over all types together.

    .. math:: y_l = \frac{x_l}{\sqrt{\langle |x_l|^2 / (2l+1) \rangle + ε}} \, w_l + b\,[l = 0e]

    0e features lose their mean first. `"layer"` averages over the channels of each atom (arXiv 2206.11990);
    `"fast_layer"` is the same function under its published name. `"soft"` is the same for scalars, and has ε = 0.3 for
    all other types: where the surroundings of an atom are symmetric (crystals, methane) these vanish, and `"layer"`
    makes unit vectors of next to nothing, so that energies have a cusp there. `"instance"` averages over the atoms of
    each graph, channel by channel; `"graph"` does so with a learned share of the mean taken away.
    `"rms"` averages over channels as `"layer"` does, but takes no mean away and adds no bias (arXiv 1910.07467).
    `"merged"` takes the mean of 0e away over channels, and then divides the T types of an atom by one number, in
    which all weigh the same however many channels and components they have (arXiv 2306.12059); what a type is
    long compared with the others stays:

    .. math:: y_l = \frac{x_l}{\sqrt{\frac1T \sum_{l'} \langle |x_{l'}|^2 / (2l'+1) \rangle + ε}} \, w_l
        + b\,[l = 0e]

    `"none"` returns its input.

    Args:
        irreps: irreps of input and output.
        kind: see above.
        eps: ε, but for the higher types of "soft".

    Shapes:
        flat [N, irreps.dim] or blocks; batch [N] (graph of each atom, for "graph" and "instance").

    Raises:
        ValueError: for an unknown kind.

    Example:
        >>> EquivariantNorm("8x0e+4x1e")(torch.randn(5, 20)).shape
        torch.Size([5, 20])
    """

    def __init__(self, irreps: Irreps | str, kind: NormKind = "layer", eps: float = 1e-5) -> None:
        super().__init__(irreps, irreps)
        if kind not in NORM_KINDS:
            raise ValueError(f"norm must be one of {NORM_KINDS}, got {kind!r}")
        self.kind, self.eps = kind, eps
        self.weight = nn.ParameterDict()
        self.bias = self.mean_shift = None
        if kind == "none":
            return
        for name, mul in zip(self.layout_in.names, self.layout_in.channels):
            self.weight[name] = nn.Parameter(torch.ones(mul))
            if name == "0e" and kind != "rms":
                self.bias = nn.Parameter(torch.zeros(mul))
                self.mean_shift = nn.Parameter(torch.ones(mul)) if kind == "graph" else None

    @property
    def mixes_types(self) -> bool:
        """Whether an output of one type depends on the inputs of others."""
        return self.kind == "merged"

    def reset_parameters(self) -> None:
        for weight in self.weight.values():
            nn.init.ones_(weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.mean_shift is not None:
            nn.init.ones_(self.mean_shift)

    def blocks(self, x: Blocks, batch: Tensor | None = None, num_graphs: int | None = None) -> Blocks:
        if self.kind == "none":
            return x
        # Statistics in at least float32: squares of bf16 features are too coarse.
        x = [b.float() if b.dtype in (torch.bfloat16, torch.float16) else b for b in x]
        if self.kind in ("layer", "soft", "fast_layer"):
            return self._over_channels(x)
        if self.kind == "rms":
            return [_divided(b, _mean_square(b), self.weight[n], self.eps) for n, b in zip(self.layout_in.names, x)]
        if self.kind == "merged":
            return self._over_types(x)
        if batch is None:
            batch, num_graphs = x[0].new_zeros(x[0].shape[0], dtype=torch.long), 1
        if num_graphs is None:
            num_graphs = int(batch.max()) + 1 if batch.numel() else 0
        return self._over_atoms(x, batch, num_graphs)

    def _over_channels(self, x: Blocks) -> Blocks:
        out = []
        for name, b in zip(self.layout_in.names, x):
            weight = self.weight[name]
            if name == "0e":
                out.append(nn.functional.layer_norm(b, b.shape[-1:], weight, self.bias, self.eps))
            else:
                out.append(_divided(b, _mean_square(b), weight, SOFT if self.kind == "soft" else self.eps))
        return out

    def _over_types(self, x: Blocks) -> Blocks:
        names = self.layout_in.names
        x = [b - b.mean(dim=-1, keepdim=True) if name == "0e" else b for name, b in zip(names, x)]
        square = torch.cat([_mean_square(b) for b in x], dim=-1).mean(dim=-1, keepdim=True)
        out = [_divided(b, square, self.weight[name], self.eps) for name, b in zip(names, x)]
        return [b + self.bias if name == "0e" and self.bias is not None else b for name, b in zip(names, out)]

    def _over_atoms(self, x: Blocks, batch: Tensor, num_graphs: int) -> Blocks:
        size = segment_sum(x[0].new_ones(batch.shape[0]), batch, num_graphs).clamp(min=1).view(-1, 1, 1)
        out = []
        for name, b in zip(self.layout_in.names, x):
            if name == "0e":
                mean = segment_sum(b, batch, num_graphs) / size
                mean = mean if self.mean_shift is None else mean * self.mean_shift
                b = b - take_rows(mean, batch)
            square = segment_sum((b * b).mean(dim=-2, keepdim=True), batch, num_graphs) / size
            scale = torch.rsqrt(square + self.eps) * self.weight[name]
            b = b * take_rows(scale, batch)
            out.append(b + self.bias if name == "0e" and self.bias is not None else b)
        return out

    def extra_repr(self) -> str:
        return f"{self.irreps_in}, kind={self.kind!r}"


def _mean_square(b: Tensor) -> Tensor:
    """Return the mean square of the components and channels of each atom, [N, 1, 1]."""
    return (b * b).mean(dim=(-2, -1), keepdim=True)


def _divided(b: Tensor, square: Tensor, weight: Tensor, eps: float) -> Tensor:
    return b * (torch.rsqrt(square + eps) * weight)
