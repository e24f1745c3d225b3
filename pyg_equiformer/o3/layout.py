"""Irreps and the two layouts of their features.

Public tensors use e3nn's flat `mul_ir` layout `[N, irreps.dim]`. Inside the package features are *blocks*: a
list with one tensor `[N, 2l+1, C]` per type of irrep, components before channels. Channels are then
contiguous, every linear map is one matrix product per type, and nothing is sliced out of a flat tensor.
"""

import torch
from e3nn.o3 import Irrep, Irreps
from einops import rearrange
from torch import Tensor

#: One tensor `[..., 2l+1, channels]` per irrep type, in the order of `Layout.types`.
Blocks = list[Tensor]

SCALAR = Irrep(0, 1)

# einops notes each tensor type when it first meets it, which torch.compile takes for a change of the program and
# compiles again: let it meet both now.
for _like in (torch.zeros(1), torch.nn.Parameter(torch.zeros(1))):
    rearrange(_like, "a -> a 1")


def as_irreps(irreps: Irreps | str, name: str = "irreps") -> Irreps:
    """Return `irreps` as `e3nn.o3.Irreps`, with an error that names the argument.

    Raises:
        ValueError: if the text is not a list of irreps such as "16x0e+8x1o", or is empty.

    Example:
        >>> as_irreps("4x0e+2x1o").dim
        10
    """
    try:
        out = Irreps(irreps)
    except Exception as error:
        raise ValueError(f"{name} must be irreps such as '16x0e+8x1e', got {irreps!r}") from error
    if out.dim == 0:
        raise ValueError(f"{name} must hold at least one irrep, got {irreps!r}")
    return out


def even_first(irreps: Irreps) -> Irreps:
    """Return irreps sorted by degree, even parity first, equal types merged.

    Example:
        >>> even_first(Irreps("2x1o+3x0o+4x0e+1x0e"))
        5x0e+3x0o+2x1o
    """
    counts: dict[Irrep, int] = {}
    for mul, ir in irreps:
        if mul > 0:
            counts[ir] = counts.get(ir, 0) + mul
    return Irreps([(counts[ir], ir) for ir in sorted(counts, key=lambda ir: (ir.l, -ir.p))])


def count(irreps: Irreps, ir: Irrep | str) -> int:
    """Return the number of channels of type `ir` (unlike `Irreps.count`, for a list in any order).

    Example:
        >>> count(Irreps("2x0e+1x1o+3x0e"), "0e")
        5
    """
    ir = Irrep(ir)
    return sum(mul for mul, other in irreps if other == ir)


class Layout:
    """The map between flat `mul_ir` features of some irreps and their blocks.

    Attributes:
        irreps: as given, the order of the flat tensor.
        canonical: sorted by degree, even parity first, merged: the order of the blocks.
        types, channels: the irrep and the number of channels of each block.
        names, dims: the irrep's name and dimension 2l+1, as plain values that torch.compile can guard.
        entries: for each entry of `irreps` its block, first channel and multiplicity.

    Example:
        >>> layout = Layout("2x0e+1x1o")
        >>> [tuple(block.shape) for block in layout.split(torch.zeros(7, 5))]
        [(7, 1, 2), (7, 3, 1)]
    """

    def __init__(self, irreps: Irreps | str) -> None:
        self.irreps = as_irreps(irreps)
        self.canonical = even_first(self.irreps)
        self.types: list[Irrep] = [ir for _, ir in self.canonical]
        self.channels: list[int] = [mul for mul, _ in self.canonical]
        self.names: list[str] = [str(ir) for ir in self.types]
        self.dims: list[int] = [ir.dim for ir in self.types]
        self.dim: int = self.irreps.dim
        position = {ir: k for k, ir in enumerate(self.types)}
        filled = [0] * len(self.types)
        self.entries: list[tuple[int, int, int]] = []
        for mul, ir in self.irreps:
            if mul > 0:
                block = position[ir]
                self.entries.append((block, filled[block], mul))
                filled[block] += mul
        self._sizes = [mul * self.dims[block] for block, _, mul in self.entries]

    def find(self, ir: Irrep | str) -> int | None:
        """Return the block that holds type `ir`, or None."""
        ir = Irrep(ir)
        return self.types.index(ir) if ir in self.types else None

    def split(self, x: Tensor) -> Blocks:
        """Turn flat features `[..., irreps.dim]` into blocks `[..., 2l+1, C]`."""
        if x.shape[-1] != self.dim:
            raise ValueError(f"expected features of {self.irreps} with {self.dim} columns, got shape {tuple(x.shape)}")
        parts: list[list[Tensor]] = [[] for _ in self.names]
        # One split, not slices: its backward is one concatenation instead of a padded copy per slice.
        for (block, _, mul), part in zip(self.entries, torch.split(x, self._sizes, dim=-1)):
            d = self.dims[block]
            parts[block].append(rearrange(part, "... (c m) -> ... m c", c=mul, m=d))
        return [(torch.cat(p, dim=-1) if len(p) > 1 else p[0].contiguous()) for p in parts]

    def join(self, blocks: Blocks) -> Tensor:
        """Turn blocks `[..., 2l+1, C]` into flat features `[..., irreps.dim]`."""
        chunks: list[list[Tensor]] = []
        for k, block in enumerate(blocks):
            sizes = [mul for b, _, mul in self.entries if b == k]
            chunks.append(list(torch.split(block, sizes, dim=-1)) if len(sizes) > 1 else [block])
        flat = [rearrange(chunks[b].pop(0), "... m c -> ... (c m)") for b, _, _ in self.entries]
        return torch.cat(flat, dim=-1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.irreps == other.irreps

    def __hash__(self) -> int:
        return hash(str(self.irreps))

    def __repr__(self) -> str:
        return f"Layout({self.irreps})"
