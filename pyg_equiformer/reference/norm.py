"""Norms of flat e3nn features, entry by entry of the irreps."""

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch_geometric.nn import global_mean_pool

SCALAR = Irrep("0e")
EPS = 1e-5


class NoNorm(nn.Module):
    """Returns its input."""

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        return x


class LayerNorm(nn.Module):
    r"""Norm over the channels of each atom, for every entry of the irreps on its own.

    .. math:: y = \frac{x}{\sqrt{\langle x^2 \rangle_{c,m} + ε}}\, w_c + b_c\,[0e], \qquad 0e: x - \langle x \rangle_c

    Shapes:
        x [N, irreps.dim], batch [N] → [N, irreps.dim]
    """

    def __init__(self, irreps: Irreps | str) -> None:
        super().__init__()
        self.irreps = Irreps(irreps)
        self.affine_weight = nn.Parameter(torch.ones(self.irreps.num_irreps))
        num_scalars = sum(mul for mul, ir in self.irreps if ir == SCALAR)
        self.affine_bias = nn.Parameter(torch.zeros(num_scalars))

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        out, weights, biases = [], 0, 0
        for columns, (mul, ir) in zip(self.irreps.slices(), self.irreps):
            field = x[:, columns].reshape(-1, mul, ir.dim)
            weight = self.affine_weight[weights : weights + mul]
            weights += mul
            if ir == SCALAR:
                rows = slice(biases, biases + mul)
                biases += mul
                field = self.scalars(field, weight, self.affine_bias[rows], rows, batch)
            else:
                field = field * self.scale(field, batch) * weight[:, None]
            out.append(field.flatten(1))
        return torch.cat(out, dim=1)

    def scalars(self, field: Tensor, weight: Tensor, bias: Tensor, rows: slice, batch: Tensor) -> Tensor:
        """Norm of 0e channels [N, mul, 1]; `rows` are their places among all 0e channels."""
        field = field - self.mean(field, rows, batch)
        return field * self.scale(field, batch) * weight[:, None] + bias[:, None]

    def mean(self, field: Tensor, rows: slice, batch: Tensor) -> Tensor:
        return field.mean(dim=1, keepdim=True)

    def scale(self, field: Tensor, batch: Tensor) -> Tensor:
        return (field.pow(2).mean(dim=2).mean(dim=1) + EPS).pow(-0.5)[:, None, None]


class FastLayerNorm(LayerNorm):
    """The same with PyTorch's layer norm for 0e."""

    def scalars(self, field: Tensor, weight: Tensor, bias: Tensor, rows: slice, batch: Tensor) -> Tensor:
        return layer_norm(field.squeeze(2), (field.shape[1],), weight, bias, EPS).unsqueeze(2)


class InstanceNorm(LayerNorm):
    """Norm over the atoms of each graph, channel by channel."""

    def mean(self, field: Tensor, rows: slice, batch: Tensor) -> Tensor:
        return global_mean_pool(field.flatten(1), batch)[batch].view_as(field)

    def scale(self, field: Tensor, batch: Tensor) -> Tensor:
        square = global_mean_pool(field.pow(2).mean(dim=2), batch)
        return (square + EPS).pow(-0.5)[batch].unsqueeze(2)


class GraphNorm(InstanceNorm):
    """Instance norm that takes away a learned share of the mean."""

    def __init__(self, irreps: Irreps | str) -> None:
        super().__init__(irreps)
        self.mean_shift = nn.Parameter(torch.ones_like(self.affine_bias))

    def mean(self, field: Tensor, rows: slice, batch: Tensor) -> Tensor:
        return super().mean(field, rows, batch) * self.mean_shift[rows, None]


def reference_norm(kind: str | None, irreps: Irreps | str) -> nn.Module:
    """Return the norm that the published code calls `kind`.

    Raises:
        ValueError: for an unknown kind.

    Example:
        >>> reference_norm("layer", "4x0e+2x1e")(torch.randn(5, 10), torch.zeros(5, dtype=torch.long)).shape
        torch.Size([5, 10])
    """
    kinds = {"layer": LayerNorm, "fast_layer": FastLayerNorm, "instance": InstanceNorm, "graph": GraphNorm}
    if kind is None:
        return NoNorm()
    if kind not in kinds:
        raise ValueError(f"norm_layer must be None or one of {', '.join(kinds)}, got {kind!r}")
    return kinds[kind](irreps)
