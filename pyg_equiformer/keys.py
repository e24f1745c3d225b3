"""Names of the fields of a `torch_geometric.data.Data` that this package reads and writes.

N atoms, E edges, B graphs. `edge_index[0]` is the source j, `edge_index[1]` the target i, and
`edge_vec = pos[j] - pos[i] (+ shift)` points from the target to the source.
"""

Z = "z"  #: atomic numbers [N], int64
POS = "pos"  #: positions [N, 3] in Å
BATCH = "batch"  #: graph of each atom [N], int64
ENERGY = "energy"  #: energy of each graph [B] in eV
FORCES = "forces"  #: minus the derivative of the energy by the positions [N, 3] in eV/Å

STRESS = "stress"  #: derivative of the energy by the strain, over the volume [B, 3, 3] in eV/Å³, ASE's sign
CELL = "cell"  #: rows are the cell vectors [B, 3, 3] in Å; zero rows where there is none
PBC = "pbc"  #: whether the structure repeats along each cell vector [B, 3], bool

#: Neighbours within a cutoff [2, E], sorted by target. Kept apart from `edge_index`, which holds chemical
#: bonds in many datasets; its name contains "index", so PyG's collation offsets it.
RADIUS_EDGE_INDEX = "radius_edge_index"
#: The cutoff in Å that `radius_edge_index` was built with, one value per graph.
RADIUS_CUTOFF = "radius_cutoff"
#: Shift of the source's periodic image of each of these edges [E, 3] in Å; only where something is periodic.
RADIUS_EDGE_SHIFT = "radius_edge_shift"

#: Neighbours that were chosen otherwise [2, E], sorted by target: the nearest, or by bonds.
NEIGHBOR_EDGE_INDEX = "neighbor_edge_index"
#: Type of each of these edges [E], int64, from 0.
NEIGHBOR_EDGE_TYPE = "neighbor_edge_type"
LEFT_OUT_BONDS = "left_out_bonds"  #: pairs within the wanted bonds that are no neighbours, one number per transform [1]

NODE_POSITION = "node_position"  #: place of each atom or residue in its sequence [N], int64, from 0
NODE_ATTR = "node_attr"  #: features of the atoms that turn with them [N, irreps_node.dim], velocities for example
