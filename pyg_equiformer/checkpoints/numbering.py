"""Which of our numbers stands where in the published code's tensors.

Every element of our tensors gets a number; a published tensor is then an array of such numbers. One array
serves to load, to save and to map gradients, as nothing is ever rescaled.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor

from ..o3 import SCALAR, CouplingPlan, Layout, count

#: Rows or columns of a linear map as the published code orders them: irrep, and its numbers per matrix axis.
Entries = list[tuple[Irrep, Tensor]]


class Numbering:
    """Numbers for the elements of some tensors, and the published tensors as arrays of them.

    Args:
        state: our tensors by name.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.shapes = {name: tuple(value.shape) for name, value in state.items()}
        self.grids: dict[str, Tensor] = {}
        start = 0
        for name, shape in self.shapes.items():
            numel = math.prod(shape)
            self.grids[name] = torch.arange(start, start + numel).view(shape)
            start += numel
        self.total = start
        self.published: dict[str, Tensor] = {}
        #: beginnings of the names of our tensors that hold zeros the published code does not have
        self.padded: list[str] = []

    def __getitem__(self, name: str) -> Tensor:
        return self.grids[name]

    def put(self, name: str, numbers: Tensor | Sequence[Tensor], shape: Sequence[int] | None = None) -> None:
        """Say that the published tensor `name` holds these numbers, in row-major order."""
        flat = numbers.flatten() if isinstance(numbers, Tensor) else torch.cat([n.flatten() for n in numbers])
        self.published[name] = flat.view(tuple(shape) if shape is not None else flat.shape)

    def gather(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the published tensors made of our tensors (or of gradients of the same names)."""
        flat = torch.cat([state[name].detach().flatten() for name in self.shapes])
        return {name: flat[numbers.to(flat.device)] for name, numbers in self.published.items()}

    def _padding(self) -> Tensor:
        """Return our numbers that no published tensor holds, among those that may be padding."""
        held = torch.zeros(self.total, dtype=torch.bool)
        for numbers in self.published.values():
            held[numbers.flatten()] = True
        grids = [grid.flatten() for name, grid in self.grids.items() if name.startswith(tuple(self.padded))]
        return torch.cat([g[~held[g]] for g in grids]) if grids else torch.zeros(0, dtype=torch.long)

    def check_padding(self, state: Mapping[str, Tensor]) -> None:
        """Raise unless the elements that the published code does not have are zero.

        Raises:
            ValueError: if training has changed them.
        """
        flat = torch.cat([state[name].detach().flatten() for name in self.shapes])
        if bool(flat[self._padding().to(flat.device)].any()):
            raise ValueError(
                "attention_parity='ignored' couples even and odd features in this model after training, which the "
                "published code cannot hold; only a model as it was converted can be exported"
            )

    def scatter(self, published: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        """Return our tensors made of published ones."""
        flat = torch.full((self.total,), torch.nan, dtype=dtype)
        flat[self._padding()] = 0
        for name, numbers in self.published.items():
            flat[numbers.flatten()] = published[name].detach().to("cpu", dtype).flatten()
        return {name: flat[grid.flatten()].view(self.shapes[name]).clone() for name, grid in self.grids.items()}


def channel_entries(irreps: Irreps, simplify: bool = True, blind: bool = False) -> Entries:
    """Return for each entry of `irreps` its channels in our block of that type; `blind`: of that degree."""
    layout = Layout(irreps)
    entries = []
    for b, c, mul in layout.entries:
        ir = layout.types[b]
        # Blocks of a degree hold the even channels, then the odd.
        first = c + (count(layout.irreps, Irrep(ir.l, 1)) if blind and ir.p == -1 else 0)
        entries.append((ir, torch.arange(first, first + mul)))
    return merge_neighbors(entries, simplify)


def merge_neighbors(entries: Entries, simplify: bool = True) -> Entries:
    """Merge neighbouring entries of one type, as e3nn's `simplify` does."""
    out: Entries = []
    for ir, channels in entries:
        if simplify and out and out[-1][0] == ir:
            out[-1] = (ir, torch.cat([out[-1][1], channels]))
        else:
            out.append((ir, channels))
    return out


def matrix_numbers(grids: Mapping[Irrep, Tensor], rows: Entries, columns: Entries) -> list[Tensor]:
    """Return the numbers of a linear map's weights in the published order: input entries, then output entries."""
    return [grids[ir][r][:, c] for ir, r in rows for other, c in columns if other == ir and ir in grids]


def bias_numbers(bias: Tensor, columns: Entries) -> list[Tensor]:
    """Return the numbers of the biases: one tensor per merged 0e entry of the output."""
    return [bias[c] for ir, c in merge_neighbors(columns) if ir == SCALAR]


def published_paths(irreps_in: Irreps, irreps_sh: Irreps, wanted: Collection[Irrep]) -> list[tuple[int, int, Irrep]]:
    """Return (input entry, harmonic, output type) of a depthwise product's paths in the published order."""
    return [
        (i, j, ir_out)
        for i, (_, ir_in) in enumerate(irreps_in)
        for j, (_, ir_sh) in enumerate(irreps_sh)
        for ir_out in ir_in * ir_sh
        if ir_out in wanted
    ]


class ProductNumbers:
    """Where the weights and outputs of our depthwise product stand in the published one.

    Args:
        plan: our product's plan.
        published: irreps of the published product where ours is blind to parity: of input, harmonics, and the
            output types it keeps.

    Attributes:
        weights: our weight numbers [weight_numel] in the published order.
        rows: entries of the published output, merged: our rows of each output type.
        outputs: (irrep, multiplicity) of the published output, not merged.
    """

    def __init__(self, plan: CouplingPlan, published: tuple[Irreps, Irreps, Collection[Irrep]] | None = None) -> None:
        blind = published is not None
        irreps_in, irreps_sh, wanted = published or (plan.layout_in.irreps, plan.irreps_sh, plan.types)
        entries = channel_entries(irreps_in, simplify=False, blind=blind)
        starts, row_starts, filled = {}, {}, [0] * len(plan.types)
        start = 0
        for pair in plan.pairs:
            starts[pair.i_in, pair.i_out] = start
            row_starts[pair.i_in, pair.i_out] = filled[pair.i_out]
            start += pair.numel
            filled[pair.i_out] += pair.numel
        harmonics = {(p.i_in, p.i_out): p.harmonics for p in plan.pairs}
        weights, outputs = [], []
        paths = published_paths(irreps_in, irreps_sh, wanted)
        for k, (i, j, ir_out) in enumerate(paths):
            ir_in, numbers = entries[i]
            first, mul = int(numbers[0]), len(numbers)
            types = [Irrep(ir.l, 1) if blind else ir for ir in (ir_in, ir_out)]
            block = plan.layout_in.types.index(types[0])
            key = (block, plan.types.index(types[1]))
            place = harmonics[key].index(j) * plan.layout_in.channels[block] + first
            weights.append(torch.arange(mul) + starts[key] + place)
            outputs.append((ir_out.l, -ir_out.p, k, ir_out, torch.arange(mul) + row_starts[key] + place))
        outputs.sort(key=lambda o: o[:3])
        self.paths = [(irreps_in[i].ir.l, irreps_sh[j].ir.l, ir.l) for i, j, ir in paths]
        self.weights = torch.cat(weights)
        self.rows = merge_neighbors([(ir, rows) for *_, ir, rows in outputs])
        self.outputs = Irreps([(len(rows), ir) for *_, ir, rows in outputs])
