"""Softmax and sums over the edges of each target, differentiable any number of times."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


def segment_sum(x: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Return the sums of the rows of `x` [E, …] that share an index, [num_segments, …].

    Example:
        >>> segment_sum(torch.ones(3, 1), torch.tensor([0, 0, 2]), 3).flatten()
        tensor([2., 0., 1.])
    """
    zeros = x.new_zeros(num_segments, *x.shape[1:])
    if torch.compiler.is_compiling():  # compilers of processors add row by row what `index_add` is given
        return zeros.scatter_add(0, _spread(index, x), x)
    return zeros.index_add(0, index, x)


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return the rows of `x` [N, …] with these numbers, [len(index), …].

    Example:
        >>> take_rows(torch.tensor([5.0, 6.0]), torch.tensor([1, 1, 0]))
        tensor([6., 6., 5.])
    """
    if torch.compiler.is_compiling():  # see `segment_sum`, which the gradient is
        return x.gather(0, _spread(index, x))
    return x.index_select(0, index)


def _spread(index: Tensor, x: Tensor) -> Tensor:
    """Return `index` for every number of a row of `x`."""
    return index.view(-1, *([1] * (x.dim() - 1))).expand(-1, *x.shape[1:])


def segment_softmax(logits: Tensor, index: Tensor, num_segments: int, weight: Tensor | None = None) -> Tensor:
    r"""Return the softmax of `logits` [E, H] over the edges of each target.

    .. math:: \alpha_e = \frac{u_e e^{a_e}}{\sum_{e' \in i} u_{e'} e^{a_{e'}}}

    The maximum that guards against overflow is a constant to autograd (it cancels), so that first, second
    and higher derivatives are right, whatever extensions are installed. Half precision is exponentiated and summed in
    float32; logits that are finite therefore need no relaxation :math:`\mathrm{softmax}((a/s - \max a/s)\,s)`
    (arXiv 2105.13290), which is the same function.

    Args:
        logits: a [E, H].
        index: target of each edge [E].
        num_segments: number of targets.
        weight: u [E], not negative: a smooth cutoff. None: 1.

    Example:
        >>> segment_softmax(torch.zeros(3, 1), torch.tensor([0, 0, 1]), 2).flatten()
        tensor([0.5000, 0.5000, 1.0000])
    """
    given, wide = logits.dtype, logits.dtype in (torch.float16, torch.bfloat16)
    logits = logits.float() if wide else logits
    with torch.no_grad():
        height = logits
        if weight is not None:  # an edge that weighs next to nothing must not set the scale
            height = logits + weight.clamp(min=1e-30).log().unsqueeze(1).to(logits.dtype)
            height = height.masked_fill(weight.unsqueeze(1) == 0, -torch.inf)
        top = logits.new_full((num_segments, logits.shape[1]), -torch.inf)
        top = top.scatter_reduce(0, index.unsqueeze(1).expand_as(logits), height, "amax")
    exponent = logits - take_rows(top, index)
    if weight is None:
        numerator = exponent.exp()
    else:
        exponent = exponent.masked_fill(weight.unsqueeze(1) == 0, 0.0)
        numerator = exponent.exp() * weight.unsqueeze(1).to(exponent.dtype)
    total = segment_sum(numerator, index, num_segments)
    # Edges at the very cutoff may all weigh nothing; their share is then nothing too.
    total = torch.where(total > 0, total, torch.ones_like(total))
    alpha = numerator / take_rows(total, index)
    return alpha.to(given) if wide else alpha


class NeighborTable(NamedTuple):
    """The edges of each target as a table [N, K], the short way from edges to batched matrix products.

    Attributes:
        edges: number of the edge in each place [N, K]; an arbitrary edge in empty places.
        filled: False in empty places [N, K]; None if every target has K edges in sorted order.
        places: number of the place of each edge [E], counted row by row; gradients then gather as well instead of
            adding, and `filled` is needed. None: not known.
    """

    edges: Tensor
    filled: Tensor | None
    places: Tensor | None = None

    def gather(self, x: Tensor, masked: bool = False) -> Tensor:
        """Gather edge features [E, …] to [N, K, …]; `masked`: empty places are zero, else arbitrary."""
        n, k = self.edges.shape
        if self.places is not None:
            tabled: Tensor = _Tabled.apply(x, self.edges, self.filled, self.places)
            return tabled
        if self.filled is None:
            return x.unflatten(0, (n, k))
        out = take_rows(x, self.edges.flatten()).unflatten(0, (n, k))
        if masked:
            out = out * self.filled.view(n, k, *([1] * (x.dim() - 1))).to(x.dtype)
        return out


class _Tabled(torch.autograd.Function):
    """Rows in the places of a table, zero in empty ones: as each row has one place, its gradient is there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edges: Tensor, filled: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(edges, filled, places)
        rows = take_rows(x, edges.flatten()).unflatten(0, edges.shape)
        return torch.where(filled.view(*edges.shape, *([1] * (x.dim() - 1))), rows, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Listed.apply(grad, *ctx.saved_tensors), None, None, None


class _Listed(torch.autograd.Function):
    """Rows of a table in the order of the edges, without its empty places."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, edges: Tensor, filled: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(edges, filled, places)
        return take_rows(rows.flatten(0, 1), places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Tabled.apply(grad, *ctx.saved_tensors), None, None, None


def neighbor_table(index: Tensor, num_nodes: int, masked: bool = False) -> NeighborTable | None:
    """Return the table of the edges of each target.

    Returns None where padding would more than quadruple the work (a few nodes of very high degree), and
    where there are no edges.

    Args:
        index: target of each edge [E], in any order.
        num_nodes: N.
        masked: give `filled` even if no place is empty.

    Example:
        >>> neighbor_table(torch.tensor([0, 0, 2]), 3).edges
        tensor([[0, 1],
                [2, 2],
                [2, 2]])
    """
    num_edges = index.shape[0]
    if num_edges == 0:
        return None
    degree = torch.bincount(index, minlength=num_nodes)
    width = int(degree.max())
    if num_nodes * width > 4 * num_edges + 64:
        return None
    is_sorted = bool((index[1:] >= index[:-1]).all())
    place = torch.arange(width, device=index.device)
    edges = ((degree.cumsum(0) - degree).unsqueeze(1) + place).clamp(max=num_edges - 1)
    if not is_sorted:
        edges = torch.argsort(index, stable=True)[edges]
    regular = is_sorted and not masked and num_nodes * width == num_edges
    return NeighborTable(edges, None if regular else place < degree.unsqueeze(1))
