"""A plan path by path, as packages for general tensor products want it."""

from typing import NamedTuple

from e3nn.o3 import Irrep, Irreps
from einops import rearrange
from torch import Tensor

from ...o3 import CouplingPlan
from ...o3.coupling import Pair


class Paths(NamedTuple):
    """What a plan couples, without its coefficients: hashable, so that products are built once per plan.

    Attributes:
        irreps_in: of the blocks, in their order.
        irreps_sh: of the harmonics.
        types: of the outputs.
        pairs: all paths from one input to one output type.
    """

    irreps_in: Irreps
    irreps_sh: Irreps
    types: tuple[Irrep, ...]
    pairs: tuple[Pair, ...]

    @property
    def irreps_out(self) -> Irreps:
        """One entry per path, in the order of the plan's weights."""
        return Irreps([(pair.channels, self.types[pair.i_out]) for pair in self.pairs for _ in pair.harmonics])

    @property
    def instructions(self) -> list[tuple[int, int, int, str, bool]]:
        """One e3nn instruction per path: input, harmonic, output, "uvu", weighted."""
        entries = [(pair.i_in, j) for pair in self.pairs for j in pair.harmonics]
        return [(i, j, k, "uvu", True) for k, (i, j) in enumerate(entries)]


def paths_of(plan: CouplingPlan) -> Paths:
    """Return the paths of a plan."""
    return Paths(plan.layout_in.canonical, plan.irreps_sh, tuple(plan.types), tuple(plan.pairs))


def split_paths(plan: CouplingPlan, out: Tensor, pattern: str) -> list[list[Tensor]]:
    """Return per output type one tensor [E, d_out, P·C] per pair, from the outputs of all paths side by side.

    Args:
        plan: of the product.
        out: [E, Σ P·d_out·C], path by path.
        pattern: order of a path's columns: "c m" (channels first, as in e3nn) or "m c".
    """
    parts: list[list[Tensor]] = [[] for _ in plan.channels_out]
    sizes = [pair.numel * pair.d_out for pair in plan.pairs]
    for pair, part in zip(plan.pairs, out.split(sizes, dim=1)):
        dims = {"p": len(pair.harmonics), "m": pair.d_out, "c": pair.channels}
        parts[pair.i_out].append(rearrange(part, f"e (p {pattern}) -> e m (p c)", **dims))
    return parts
