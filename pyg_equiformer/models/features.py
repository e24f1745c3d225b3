"""What a network knows of the atoms before its head, for further heads on top of it."""

from typing import Any, NamedTuple

from torch import Tensor

from ..o3 import Blocks, Layout


class Features(NamedTuple):
    """Features of the atoms, and the edges that layers on top of them take.

    Attributes:
        nodes: what the head of the network takes, one tensor [N, 2l+1, C] per type of `config.irreps_feature`.
        edges: keyword arguments of an attention layer: `edge_index`, `edge_sh`, `edge_attr`, …
    """

    nodes: Blocks
    edges: dict[str, Any]

    def detach(self) -> "Features":
        edges = {k: v.detach() if isinstance(v, Tensor) else v for k, v in self.edges.items() if k != "couplings"}
        return Features([block.detach() for block in self.nodes], edges)


def add_blocks(x: Blocks, more: Blocks, layout: Layout) -> Blocks:
    """Return the sum of node features.

    Raises:
        ValueError: if `more` is not made of the blocks of `layout` for as many atoms.
    """
    want, got = [tuple(b.shape) for b in x], [tuple(b.shape) for b in more]
    if want != got:
        raise ValueError(
            f"node_embedding must hold one tensor [N, 2l+1, C] per type of {layout.canonical}, {want}, got {got}"
        )
    return [a + b for a, b in zip(x, more)]
