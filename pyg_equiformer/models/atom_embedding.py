"""The first features of an atom, by its element."""

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ..o3 import Blocks, Layout


class AtomEmbedding(nn.Module):
    """A learned 0e vector for each element or token the model knows.

    Args:
        elements: atomic numbers, or tokens.
        irreps_out: irreps of the features; needs 0e.
        kind: what errors call them.

    Shapes:
        z [N], atomic numbers → blocks of irreps_out for N atoms (zero but for 0e)

    Raises:
        ValueError: for an element that is not among `elements`.
    """

    def __init__(self, elements: tuple[int, ...], irreps_out: Irreps | str, kind: str = "elements Z") -> None:
        super().__init__()
        self.elements, self.kind = elements, kind
        self.layout_out = Layout(irreps_out)
        self.weight = nn.Parameter(torch.empty(len(elements), self.layout_out.channels[0]))
        self.bias = nn.Parameter(torch.empty(self.layout_out.channels[0]))
        row = torch.full((max(elements) + 1,), -1)
        row[list(elements)] = torch.arange(len(elements))
        self.register_buffer("row", row, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, z: Tensor) -> Blocks:
        row: Tensor = self.get_buffer("row")
        if not torch.compiler.is_compiling() and z.numel():
            known = (z >= 0) & (z < row.shape[0])
            known &= row[torch.where(known, z, 0)] >= 0
            if not bool(known.all()):
                unknown = sorted(set(z[~known].tolist()))
                raise ValueError(
                    f"the model does not know the {self.kind} = {unknown}; it knows {_ranges(self.elements)}"
                )
        scalars = self.weight.index_select(0, row[z]) + self.bias
        sizes = zip(self.layout_out.dims[1:], self.layout_out.channels[1:])
        return [scalars.unsqueeze(1), *(scalars.new_zeros(z.shape[0], d, c) for d, c in sizes)]


def _ranges(numbers: tuple[int, ...]) -> str:
    """Return sorted numbers as ranges: "1-8, 16"."""
    out: list[list[int]] = []
    for n in sorted(numbers):
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in out)
