"""The data sets of the accuracy benchmarks, read from a folder of arrays that lies beside the checkout.

`read.py` in that folder decodes them. Energies in eV, lengths in Å; kcal/mol, hartree and kbar are converted here.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from pyg_equiformer.data.structure_sets import ENERGY, FORCES, STRESS, Structures, Target
from pyg_equiformer.units import HARTREE, KCAL_PER_MOL

KBAR = 6.241509074e-4  #: eV/Å³
SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@dataclass(frozen=True)
class Task:
    """A benchmark: how to read its data, the recipe for a GPU, and the published results to compare with."""

    read: Callable[[ModuleType, str], Structures]
    preset: str
    compare: str | None
    settings: tuple[str, ...] = ()


def reader(folder: Path = SHARED) -> ModuleType:
    """Return the module that decodes the files of the folder."""
    path = folder / "read.py"
    if not path.is_file():
        raise SystemExit(f"there is no {path}: give the folder of the benchmark data with --shared")
    spec = importlib.util.spec_from_file_location("shared_data_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frames(values: dict[str, np.ndarray], unit: float = 1.0) -> list[Data]:
    """Return structures of one molecule with energies and forces, `unit` being that of the energies in eV."""
    z = torch.from_numpy(np.asarray(values["z"]).astype(np.int64))
    per_frame = z.dim() == 2
    return [
        Data(
            z=z[i] if per_frame else z,
            pos=torch.from_numpy(np.asarray(values["pos"][i], dtype=np.float32)),
            energy=torch.tensor([float(values["energy"][i]) * unit], dtype=torch.float64),
            forces=torch.from_numpy(np.asarray(values["forces"][i], dtype=np.float64) * unit).float(),
        )
        for i in range(len(values["pos"]))
    ]


def rmd17(read: ModuleType, name: str) -> Structures:
    """Official split 1: 1000 training frames, of which 50 watch the training, and 1000 test frames."""
    molecule = name.split(":")[1]
    train = frames(read.forces_set("rmd17_split01", molecule, "train"), KCAL_PER_MOL)
    test = frames(read.forces_set("rmd17_split01", molecule, "test"), KCAL_PER_MOL)
    return Structures(train, test=test, name=name.replace(":", "-"))


def one_molecule(read: ModuleType, name: str) -> Structures:
    """3BPA or AcAc, trained and tested at 300 K."""
    train, test = (frames(read.forces_set(name, f"{part}_300K")) for part in ("train", "test"))
    return Structures(train, test=test, name=name)


def qm9_gap(read: ModuleType, name: str) -> Structures:
    """HOMO-LUMO gaps of the molecules that have one, split 110,000 : 10,000 : rest in proportion, seed 1."""
    data = read.qm9()
    gap = data["frontier_homo_lumo_gap"][:, 2].astype(np.float64)
    rows = np.random.default_rng(1).permutation(np.flatnonzero(np.isfinite(gap)))
    ends = [round(len(rows) * n / 130_831) for n in (110_000, 120_000)]
    return _qm9(data, Target("gap", "graph_scalar", "eV"), gap * HARTREE, np.split(rows, ends), name)


def qm9_g4mp2(read: ModuleType, name: str) -> Structures:
    """Atomisation energies of G4MP2 with their own split."""
    data = read.qm9()
    energy, split = data["g4mp2_atomization"].astype(np.float64), data["g4mp2_split"]
    known = np.isfinite(energy)
    parts = [np.flatnonzero(known & (split == part)) for part in (0, 1, 2)]
    return _qm9(data, Target("g4mp2", "graph_scalar", "eV"), energy * HARTREE, parts, name)


def _qm9(
    data: dict[str, np.ndarray], target: Target, values: np.ndarray, parts: list[np.ndarray], name: str
) -> Structures:
    starts = np.concatenate([[0], np.cumsum(data["n_atoms"], dtype=np.int64)])
    z, pos = torch.from_numpy(data["z"].astype(np.int64)), torch.from_numpy(data["pos"].astype(np.float32))

    def molecules(rows: np.ndarray) -> list[Data]:
        return [
            Data(
                z=z[starts[i] : starts[i + 1]],
                pos=pos[starts[i] : starts[i + 1]],
                **{target.name: torch.tensor([values[i]], dtype=torch.float64)},
            )
            for i in rows
        ]

    train, valid, test = map(molecules, parts)
    return Structures(train, valid, test, name.replace(":", "-"), (target,))


def mlearn(read: ModuleType, name: str) -> Structures:
    """Periodic Si or Mo with energies, forces and stress; VASP's pressures in kbar are minus the stress."""
    element = name.split(":")[1]
    train, test = (_crystals(read.forces_set("mlearn", element, part), element) for part in ("training", "test"))
    return Structures(train, test=test, name=name.replace(":", "-"), targets=(ENERGY, FORCES, STRESS))


def _crystals(values: dict[str, Any], element: str) -> list[Data]:
    found, start = [], 0
    z = {"Si": 14, "Mo": 42}[element]
    for i, count in enumerate(values["n_atoms"].tolist()):
        xx, yy, zz, xy, yz, zx = (-KBAR * values["virial_stress"][i]).tolist()
        stress = [[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]]
        rows = slice(start, start + count)
        found.append(
            Data(
                z=torch.full((count,), z),
                pos=torch.from_numpy(values["pos"][rows]).float(),
                cell=torch.from_numpy(values["cell"][i : i + 1]).float(),
                pbc=torch.ones(1, 3, dtype=torch.bool),
                energy=torch.tensor([values["energy"][i]], dtype=torch.float64),
                forces=torch.from_numpy(values["forces"][rows]).float(),
                stress=torch.tensor([stress], dtype=torch.float64),
            )
        )
        start += count
    return found


TASKS: dict[str, Task] = {
    **{
        f"rmd17:{molecule}": Task(rmd17, "rmd17", f"rmd17:{molecule}", ("valid_fraction=50",))
        for molecule in ("ethanol", "aspirin", "toluene", "uracil", "benzene", "malonaldehyde")
    },
    "acac": Task(one_molecule, "3bpa", "acac", ("valid_fraction=50",)),
    "3bpa": Task(one_molecule, "3bpa", "3bpa", ("valid_fraction=50",)),
    "qm9:gap": Task(qm9_gap, "qm9", "qm9:gap"),
    "qm9:g4mp2": Task(qm9_g4mp2, "qm9", "qm9_g4mp2", ("reference=elements", "model.attn_dropout=0")),
    "mlearn:Si": Task(mlearn, "small", None, ("energy_per_atom=true",)),
    "mlearn:Mo": Task(mlearn, "small", None, ("energy_per_atom=true",)),
}
