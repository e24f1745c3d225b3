"""Predictions that need no model, for tests of what is made of them."""

from collections.abc import Sequence

import numpy as np

from pyg_equiformer.data.structure_sets import Target
from pyg_equiformer.training.geometries import SHAPES
from pyg_equiformer.training.predictions import Predictions

GAP = Target("gap", "graph_scalar", "eV")
DIPOLE = Target("dipole", "graph_vector", "D")
CHARGES = Target("charges", "node_scalar", "e")


def made_up(
    targets: Sequence[Target], molecules: Sequence[Sequence[int]], *, committee: bool = False, seed: int = 0
) -> Predictions:
    """Random labels and predictions for molecules with these atomic numbers."""
    rng = np.random.default_rng(seed)
    num_atoms = np.array([len(molecule) for molecule in molecules])
    true = {}
    for target in targets:
        count = int(num_atoms.sum()) if target.per_atom else len(molecules)
        true[target.name] = rng.normal(size=(count, *SHAPES[target.kind]))
    predicted = {name: values + rng.normal(size=values.shape) for name, values in true.items()}
    spread = {name: np.abs(rng.normal(size=values.shape)) for name, values in true.items()} if committee else {}
    return Predictions(
        tuple(targets), predicted, true, spread, np.concatenate(list(map(np.array, molecules))), num_atoms
    )
