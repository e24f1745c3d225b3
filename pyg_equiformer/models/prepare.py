"""What a network needs to know of a graph before anything is differentiated: its edges, their order, their table."""

import torch
from torch import Tensor

from ..conv.chunks import most_edges
from ..kernels import neighbor_table
from ..neighbors import mirror_order, radius_graph
from .config import EquiformerConfig
from .geometry import check_positions
from .inputs import GraphInputs
from .periodic import periodic_neighbors


def prepare_edges(inputs: GraphInputs, config: EquiformerConfig, for_compiler: bool = False) -> GraphInputs:
    """Return inputs with edges, mirrored if they come in pairs, and the table of the edges of each atom.

    All that depends on the values of positions and indices happens here, so that what follows can be compiled.

    Args:
        inputs: as collected; returned as they are if they were prepared before.
        config: of the network.
        for_compiler: tell empty places in the table even if there are none, so that compiled code meets one case.

    Raises:
        ValueError: for positions that are not finite, or cells and atoms that do not fit together.
    """
    if inputs.prepared or torch.compiler.is_compiling():
        return inputs
    check_positions(inputs.pos)
    inputs, num_atoms = find_neighbors(inputs, config.cutoff), inputs.pos.shape[0]
    edge_index = inputs.edge_index
    assert edge_index is not None  # found above
    mirrored, edge_type = False, inputs.edge_type
    if inputs.edge_attr is None and inputs.edge_shift is None:
        order = mirror_order(edge_index, num_atoms)
        if order is not None and _same_both_ways(edge_type, order):
            mirrored, edge_index = True, edge_index.index_select(1, order)
            edge_type = None if edge_type is None else edge_type.index_select(0, order)
    table = neighbor_table(edge_index[1], num_atoms, masked=for_compiler)
    return inputs._replace(edge_index=edge_index, edge_type=edge_type, table=table, mirrored=mirrored, prepared=True)


def find_neighbors(inputs: GraphInputs, cutoff: float) -> GraphInputs:
    """Return inputs with the edges that were given, or else all pairs nearer than the cutoff, through images too."""
    if inputs.edge_index is not None:
        return inputs
    cell, pbc = inputs.cell, inputs.pbc
    if cell is None or pbc is None or not bool(pbc.any()):
        return inputs._replace(edge_index=radius_graph(inputs.pos, cutoff, inputs.batch))
    edge_index, shift = periodic_neighbors(inputs.pos, cutoff, cell, pbc, inputs.batch)
    return inputs._replace(edge_index=edge_index, edge_shift=shift)


def worth_chunks(inputs: GraphInputs) -> bool:
    """Tell whether a graph is so large that its edges should be looked at in chunks, and nothing of them stored."""
    if inputs.edge_index is None or torch.compiler.is_compiling():
        return False
    # From two chunks on it costs nothing: what is computed again fits into the cache.
    return inputs.edge_index.shape[1] > 2 * most_edges(inputs.pos.device)


def _same_both_ways(edge_type: Tensor | None, order: Tensor) -> bool:
    """Return whether edges and their reverses, half of the order each, are of the same types."""
    if edge_type is None:
        return True
    there, back = edge_type.index_select(0, order).chunk(2)
    return bool((there == back).all())


def tell_sizes(inputs: GraphInputs) -> None:
    """Tell a compiler which sizes of prepared inputs are one and the same, which it must not take for a coincidence."""
    atoms = inputs.pos.shape[0]
    torch._check(inputs.z.shape[0] == atoms)
    torch._check(inputs.batch.shape[0] == atoms)
    if inputs.table is not None and inputs.table.filled is not None:
        torch._check(inputs.table.edges.shape[0] == atoms)
        torch._check(inputs.table.filled.shape[0] == atoms)
        torch._check(inputs.table.filled.shape[1] == inputs.table.edges.shape[1])
    for value in (inputs.node_position, inputs.node_attr):
        if value is not None:
            torch._check(value.shape[0] == atoms)
    for value in (inputs.edge_shift, inputs.edge_attr, inputs.edge_type):
        if value is not None and inputs.edge_index is not None:
            torch._check(value.shape[0] == inputs.edge_index.shape[1])
