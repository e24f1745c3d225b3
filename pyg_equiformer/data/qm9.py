"""QM9 as published results use it: targets, units, reference energies and split."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..units import HARTREE
from .pyg_datasets import CollatedStructures, check_precise_values, load_dataset, offsets_of
from .splits import random_split
from .structure_sets import Structures, Target


class QM9Target(NamedTuple):
    """One property of QM9: its column in PyG's `data.y`, its unit there, and the unit of published errors."""

    column: int
    unit: str
    error_unit: str


#: The properties of PyG's `QM9` by name: the 12 published targets, atomisation energies, rotational constants.
QM9_TARGETS: dict[str, QM9Target] = {
    "mu": QM9Target(0, "D", "D"),
    "alpha": QM9Target(1, "a0^3", "a0^3"),
    "homo": QM9Target(2, "eV", "meV"),
    "lumo": QM9Target(3, "eV", "meV"),
    "gap": QM9Target(4, "eV", "meV"),
    "r2": QM9Target(5, "a0^2", "a0^2"),
    "zpve": QM9Target(6, "eV", "meV"),
    "u0": QM9Target(7, "eV", "meV"),
    "u": QM9Target(8, "eV", "meV"),
    "h": QM9Target(9, "eV", "meV"),
    "g": QM9Target(10, "eV", "meV"),
    "cv": QM9Target(11, "cal/(mol K)", "cal/(mol K)"),
    "u0_atom": QM9Target(12, "eV", "meV"),
    "u_atom": QM9Target(13, "eV", "meV"),
    "h_atom": QM9Target(14, "eV", "meV"),
    "g_atom": QM9Target(15, "eV", "meV"),
    "a": QM9Target(16, "GHz", "GHz"),
    "b": QM9Target(17, "GHz", "GHz"),
    "c": QM9Target(18, "GHz", "GHz"),
}
#: Targets that published results give without the energies of the free atoms.
TOTAL_ENERGIES = ("u0", "u", "h", "g")

#: The label file has atomisation energies in kcal/mol, from hartree by this rounded factor; the exact one would leave
#: 0.1 meV in them.
KCAL_PER_HARTREE = 627.509

FOLDER = "QM9"
LABEL_FILE = "gdb9.sdf.csv"


def open_qm9(target: str, root: str | Path, *, split_seed: int = 1) -> Structures:
    r"""Return QM9 with one property, in the published split 110000 / 10000 / rest.

    Total energies U0, U, H and G have PyG's reference energies of the elements taken off, as published:

    .. math:: y = E - \sum_i e^\mathrm{ref}_{z_i}

    Labels are float64, read anew from `gdb9.sdf.csv` where it is there, as PyG's float32 leaves steps of 1 meV in
    total energies.

    Args:
        target: a name in `QM9_TARGETS`.
        root: folder of the data sets; PyG's files are in `QM9` below it.
        split_seed: seed of the split; 1 is as published.

    Raises:
        OSError: if files are missing and cannot be downloaded.
        ValueError: if files cannot be processed.
    """
    from torch_geometric.datasets import QM9

    folder = Path(root) / FOLDER
    dataset = load_dataset(lambda: QM9(str(folder)), [folder / "raw" / name for name in _raw_file_names()])
    offsets, data = offsets_of(dataset), dataset._data
    labels, notes = _labels(dataset, target)
    if target in TOTAL_ENERGIES:
        notes.append(f"{target}: total energy minus PyG's reference energy of each atom, as published")
    split = random_split(len(dataset), 110_000, 10_000, 10_831, rest=True, seed=split_seed)
    structures = CollatedStructures(data.z, data.pos, offsets, {target: labels})
    return Structures(
        train=structures.subset(split.train),
        valid=structures.subset(split.valid),
        test=structures.subset(split.test),
        name=f"qm9:{target}",
        targets=(Target(target, "graph_scalar", QM9_TARGETS[target].unit),),
        notes=(*notes, split.note),
    )


def _raw_file_names() -> list[str]:
    """What PyG wants to find: it reads the published files if RDKit is installed, else its own excerpt of them."""
    try:
        import rdkit  # noqa: F401
    except ImportError:
        return ["qm9_v3.pt"]
    return ["gdb9.sdf", LABEL_FILE, "uncharacterized.txt"]


def _labels(dataset: Any, target: str) -> tuple[Tensor, list[str]]:
    """Return the labels of all molecules [n], float64, in the unit of the target, and where they come from."""
    column, data = QM9_TARGETS[target].column, dataset._data
    stored, path = data.y[:, column].double(), Path(dataset.raw_dir) / LABEL_FILE
    if path.exists():
        values = _read_column(path, target)[data.idx.reshape(-1)]
        check_precise_values(values, stored, path, dataset.processed_dir)
        if target in TOTAL_ENERGIES:
            values -= _reference_energies(dataset, column)
        return values, [f"{target}: float64, read from {LABEL_FILE}"]
    if target in TOTAL_ENERGIES:
        # 1e4 eV in float32 have steps of 1 meV. Atomisation energies, 1e2 eV, have steps of 0.01 meV; they agree to
        # 0.1 meV, as PyG's energies of the free atoms are in an older hartree.
        from torch_geometric.datasets.qm9 import KCALMOL2EV

        values = data.y[:, column + 5].double() * (HARTREE / KCAL_PER_HARTREE / KCALMOL2EV)
        return values, [f"{target}: PyG's column {target}_atom, as {LABEL_FILE} is not there and totals are float32"]
    return stored, [f"{target}: float32, as {LABEL_FILE} is not there"]


def _read_column(path: Path, target: str) -> Tensor:
    """Return one property of all rows of the label file, float64, in the unit of the target."""
    column, unit, _ = QM9_TARGETS[target]
    # The file starts with mol_id, A, B, C; PyG moves A, B and C to the end.
    values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=column + 4 if column < 16 else column - 15, ndmin=1)
    if unit == "eV":
        values = values * (HARTREE / KCAL_PER_HARTREE if target.endswith("_atom") else HARTREE)
    return torch.from_numpy(values)


def _reference_energies(dataset: Any, column: int) -> Tensor:
    """Return the energies of the free atoms of each molecule [n] in eV, float64."""
    # dataset.atomref() would round them to float32.
    from torch_geometric.datasets.qm9 import atomrefs

    table = torch.zeros(10, dtype=torch.float64)
    table[[1, 6, 7, 8, 9]] = torch.tensor(atomrefs[column], dtype=torch.float64)
    offsets = offsets_of(dataset)
    molecule = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    return torch.zeros(len(offsets) - 1, dtype=torch.float64).index_add_(0, molecule, table[dataset._data.z])
