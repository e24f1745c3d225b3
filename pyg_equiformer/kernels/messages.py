"""The features of edges, before anybody has written them down."""

from typing import NamedTuple

from torch import Tensor

from ..o3 import Blocks
from .segments import take_rows


class Message(NamedTuple):
    """Features of edges as a sum of those of source and target, which an engine may gather by itself.

    Attributes:
        src: features of the sources, blocks [N_src, d, C], or of the edges, if `source` is None.
        dst: what is added from the targets, blocks [N_dst, d, C].
        source, target: the nodes of each edge [E].
    """

    src: Blocks
    dst: Blocks | None = None
    source: Tensor | None = None
    target: Tensor | None = None

    def dense(self) -> Blocks:
        """Return the features of the edges, blocks [E, d, C]."""
        x = self.src if self.source is None else [take_rows(s, self.source) for s in self.src]
        if self.dst is None:
            return x
        assert self.target is not None  # comes with dst
        return [a + take_rows(d, self.target) for a, d in zip(x, self.dst)]
