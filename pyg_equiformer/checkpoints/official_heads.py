"""Which of our channels the published code's attention heads hold.

It lays the irreps of all heads out sorted (graph attention: even parity first; dot product: odd first), but
cuts that flat tensor by position, in the order `irreps_head` gives. Where every head so gets its whole
channels, they are ours in another order; else no layer with these irreps is equivalent.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor

from ..conv import without_parity
from ..nn import AttentionKind
from ..o3 import SCALAR, count, even_first
from .numbering import Entries

#: The channels of one head in the published order: irrep, and number among the channels of that irrep.
Head = Sequence[tuple[Irrep, int]]


def parity_of_heads(irreps_head: Irreps, heads: int) -> Literal["kept", "ignored"]:
    """Return whether the published dot-product attention keeps parities apart in such heads."""
    try:
        pair_entries(irreps_head, heads, "dot")
    except ValueError:
        return "ignored"
    return "kept"


def head_entries(irreps_head: Irreps, heads: int, attention: AttentionKind, blind: bool = False) -> Entries:
    """Return our channels in the published order, for queries, values, and the input of the last linear map.

    With `blind`, ours are numbered by degree, without regard to parity.

    Raises:
        ValueError: if the published code cuts heads so that no layer of ours is equivalent.

    Example:
        >>> head_entries(Irreps("1x0e+1x0e"), 2, "mlp")
        [(0e, tensor([0, 2, 1, 3]))]
    """
    flat = _sorted(irreps_head * heads, attention)
    parts, all_heads = _seen(irreps_head, blind), _seen(flat, blind)
    return _entries(flat, _numbers(_cut(all_heads, parts, heads), parts), blind)


def pair_entries(irreps_head: Irreps, heads: int, attention: AttentionKind, blind: bool = False) -> Entries:
    """Return the same for one map that gives two: keys and values ("dot"), or hidden scalars and values.

    Channels of each irrep are numbered through both, values last.
    """
    flat, given = _sorted(irreps_head * (2 * heads), attention), irreps_head
    joined = _cut(_seen(_sorted(irreps_head * heads, attention), blind), _seen(irreps_head, blind), heads)
    irreps_head = _seen(irreps_head, blind)
    if attention == "dot":
        first = irreps_head
        cut = _cut(_seen(flat, blind), irreps_head, 2 * heads)
        parts = cut[:heads], cut[heads:]
        degrees = [ir.l for mul, ir in irreps_head for _ in range(mul)]
        fits = _types(parts[0]) == _types(joined) and all([ir.l for ir, _ in head] == degrees for head in joined)
    else:
        first = Irreps([(count(irreps_head, SCALAR), SCALAR)])
        flat = (Irreps([(heads * first.dim, SCALAR)]) + _sorted(irreps_head * heads, attention)).simplify()
        cut = _cut(flat, (first + irreps_head).simplify(), heads)
        parts, fits = ([head[: first.dim] for head in cut], [head[first.dim :] for head in cut]), True
    if not fits or _types(parts[1]) != _types(joined):
        raise _refusal(given)
    numbers = _numbers(parts[0], first)
    for (ir, c), ours in _numbers(parts[1], irreps_head).items():
        numbers[ir, c] = ours + heads * count(first, ir)
    return _entries(flat, numbers, blind)


def _seen(irreps: Irreps, blind: bool) -> Irreps:
    return without_parity(irreps) if blind else irreps


def _sorted(irreps: Irreps, attention: AttentionKind) -> Irreps:
    return irreps.sort().irreps.simplify() if attention == "dot" else even_first(irreps)


def _cut(flat: Irreps, parts: Irreps, heads: int) -> list[Head]:
    """Cut flat features by position into `(heads · mul) x ir` per entry of `parts`, each shared by the heads."""
    labels, first = [], Counter[Irrep]()
    for mul, ir in flat:
        labels += [(ir, first[ir] + c, m) for c in range(mul) for m in range(ir.dim)]
        first[ir] += mul
    sizes = [heads * mul * ir.dim for mul, ir in parts]
    places = torch.cat([p.view(heads, -1) for p in torch.arange(flat.dim).split(sizes)], dim=1)
    out: list[Head] = []
    for row in places.tolist():
        head: list[tuple[Irrep, int]] = []
        k = 0
        while k < len(row):
            ir, c, _ = labels[row[k]]
            if [labels[p] for p in row[k : k + ir.dim]] != [(ir, c, m) for m in range(ir.dim)]:
                raise _refusal(parts)
            head.append((ir, c))
            k += ir.dim
        out.append(head)
    return out


def _types(heads: Sequence[Head]) -> list[list[Irrep]]:
    return [[ir for ir, _ in head] for head in heads]


def _numbers(heads: Sequence[Head], irreps: Irreps) -> dict[tuple[Irrep, int], int]:
    """Return our number of each published channel: head by head, in the order of appearance."""
    numbers = {}
    for h, head in enumerate(heads):
        seen: Counter[Irrep] = Counter()
        for ir, c in head:
            numbers[ir, c] = h * count(irreps, ir) + seen[ir]
            seen[ir] += 1
        if any(seen[ir] != count(irreps, ir) for ir in {*seen, *(ir for _, ir in irreps)}):
            raise _refusal(irreps)
    return numbers


def _entries(flat: Irreps, numbers: Mapping[tuple[Irrep, int], int], blind: bool) -> Entries:
    out: Entries = []
    first = Counter[Irrep]()
    for (mul, ir), (_, seen) in zip(flat, _seen(flat, blind)):
        out.append((ir, _tensor([numbers[seen, first[seen] + c] for c in range(mul)])))
        first[seen] += mul
    return out


def _tensor(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.long)


def _refusal(irreps_head: Irreps) -> ValueError:
    return ValueError(
        f"the published code cuts heads of {irreps_head} so that they hold unequal or torn irreps, which no layer "
        "that respects them does; it keeps them whole if irreps_head is sorted by degree, even parity first for "
        "graph attention, odd first for dot-product attention"
    )
