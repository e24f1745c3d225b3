"""Raw files of QM9, MD17 and revised MD17 in the layout that PyG downloads, with a few molecules in them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

#: Rows of the published file: A, B, C in GHz; mu in D; alpha in a0³; homo, lumo, gap in hartree; r2 in a0²;
#: zpve, U0, U, H, G in hartree; Cv in cal/(mol K). Source: molecules 1 and 214 of QM9 (doi 10.1038/sdata.2014.22),
#: as MoleculeNet hands them on. Benzene's rotational constants are left out: they follow from its geometry.
LITERATURE = {
    "methane": (157.7118, 157.70997, 157.70699, 0.0, 13.21, -0.3877, 0.1171, 0.5048, 35.3641, 0.044749,
                -40.47893, -40.476062, -40.475117, -40.498597, 6.469),
    "benzene": (None, None, None, 0.0, 57.28, -0.2475, 0.0029, 0.2503, 456.6788, 0.100175,
                -232.164586, -232.160188, -232.159244, -232.192047, 17.214),
}  # fmt: skip
#: U0, U, H and G of the free atoms in hartree, from the same publication.
FREE_ATOMS = {
    1: (-0.500273, -0.498857, -0.497912, -0.510927),
    6: (-37.846772, -37.845355, -37.844411, -37.861317),
    7: (-54.583861, -54.582445, -54.581501, -54.598897),
    8: (-75.064579, -75.063163, -75.062219, -75.079532),
    9: (-99.718730, -99.717314, -99.716370, -99.733544),
}
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
COLUMNS = "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,u0_atom,u298_atom,h298_atom,g298_atom"
KCAL_PER_HARTREE = 627.509  # the rounded factor of the published file
#: Product of a rotational constant in GHz and its moment of inertia in u Å²: h / 8π².
ROTATION = 505.379
MASSES = {1: 1.00782503, 6: 12.0, 7: 14.0030740, 8: 15.9949146, 9: 18.9984032}


@dataclass
class Molecule:
    """A molecule of QM9: elements, positions in Å, bonds (atom, atom, order), and A, B, C, mu, … Cv as published."""

    z: np.ndarray
    pos: np.ndarray
    bonds: list[tuple[int, int, int]] = field(default_factory=list)
    properties: tuple[float | None, ...] | None = None

    def row(self) -> list[float]:
        """The 19 numbers of the label file: literature values where there are, else values of a simple formula."""
        values = list(self.properties or _formula(self.z, self.pos))
        rotation = _rotational_constants(self.z, self.pos)
        values = [rotation[i] if v is None else float(v) for i, v in enumerate(values)]
        atoms = np.array([FREE_ATOMS[int(z)] for z in self.z]).sum(axis=0)
        return values + list((np.array(values[10:14]) - atoms) * KCAL_PER_HARTREE)


def molecules(count: int, seed: int = 0) -> list[Molecule]:
    """Methane and benzene, then small molecules embedded by RDKit, over and over with other conformations."""
    smiles = [
        "O",
        "N",
        "CO",
        "CC",
        "C=C",
        "C#C",
        "C#N",
        "C=O",
        "CCO",
        "CC=O",
        "COC",
        "CF",
        "CN",
        "C1CC1",
        "OCCO",
        "CCC",
    ]
    found = [embed("C", "methane"), embed("c1ccccc1", "benzene")]
    for i in range(count - 2):
        found.append(embed(smiles[i % len(smiles)], seed=seed + i))
    return found[:count]


def embed(smiles: str, name: str | None = None, seed: int = 0) -> Molecule:
    """A molecule by its SMILES string, with the literature's labels if it has a name."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=seed + 1)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    z = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())) for b in mol.GetBonds()]
    pos = np.round(mol.GetConformer().GetPositions(), 4)
    return Molecule(z, pos, bonds, LITERATURE[name] if name else None)


def write_qm9(root: Path, found: Sequence[Molecule], uncharacterized: Sequence[int] = ()) -> Path:
    """Write gdb9.sdf, gdb9.sdf.csv and uncharacterized.txt to `QM9/raw` below the root.

    Args:
        root: folder of the data sets.
        found: the molecules gdb_1, gdb_2, …
        uncharacterized: numbers (from 1) of the molecules that PyG is to leave out.
    """
    raw = Path(root) / "QM9" / "raw"
    raw.mkdir(parents=True)
    (raw / "gdb9.sdf").write_text("".join(_sdf(f"gdb_{i}", m) for i, m in enumerate(found, start=1)))
    rows = [f"gdb_{i}," + ",".join(map(repr, map(float, m.row()))) for i, m in enumerate(found, start=1)]
    (raw / "gdb9.sdf.csv").write_text("\n".join([COLUMNS, *rows, ""]))
    # PyG passes over nine lines of heading and what follows the table.
    table = [f"   {i}  C1  C1  0.1" for i in uncharacterized]
    (raw / "uncharacterized.txt").write_text("\n".join([*["heading"] * 9, *table, "end", ""]))
    return raw


def trajectory(z: Sequence[int], pos: np.ndarray, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Frames around a structure with harmonic bonds between all atoms: R in Å, E in kcal/mol, F in kcal/mol/Å."""
    rng = np.random.default_rng(seed)
    coords = pos + 0.05 * rng.normal(size=(count, *pos.shape))
    vectors = coords[:, :, None] - coords[:, None]
    away = np.eye(len(pos))
    distances, rest = np.linalg.norm(vectors, axis=-1) + away, np.linalg.norm(pos[:, None] - pos[None], axis=-1) + away
    energies = 100 * ((distances - rest) ** 2).sum((1, 2)) / 2
    forces = (-200 * (distances - rest) / distances)[..., None] * vectors
    return {"z": np.array(z), "R": coords, "E": energies - 4e5 - rng.random() / 7, "F": forces.sum(2)}


def write_md17(root: Path, name: str, frames: dict[str, np.ndarray]) -> Path:
    """Write a trajectory of MD17 to `MD17` below the root, under PyG's name ("aspirin", "benzene FHI-aims")."""
    from torch_geometric.datasets import MD17

    path = Path(root) / "MD17" / name / "raw" / MD17.file_names[name]
    path.parent.mkdir(parents=True)
    np.savez(path, **{**frames, "E": frames["E"][:, None]})
    return path


def write_ccsd(root: Path, name: str, train: dict[str, np.ndarray], test: dict[str, np.ndarray]) -> Path:
    """Write a coupled-cluster set to `MD17` below the root, under PyG's name ("ethanol CCSD(T)")."""
    from torch_geometric.datasets import MD17

    raw, stem = Path(root) / "MD17" / name / "raw", Path(MD17.file_names[name]).stem
    raw.mkdir(parents=True)
    for part, frames in (("train", train), ("test", test)):
        np.savez(raw / f"{stem}-{part}.npz", **{**frames, "E": frames["E"][:, None]})
    return raw


def write_rmd17(
    root: Path, name: str, frames: dict[str, np.ndarray], splits: dict[int, tuple[Sequence[int], Sequence[int]]] | None
) -> Path:
    """Write a trajectory of revised MD17 to `MD17/raw/rmd17` below the root.

    Args:
        root: folder of the data sets.
        name: the molecule as PyG names it ("aspirin", "salicylic acid").
        frames: see `trajectory`.
        splits: training and test frames of the official splits, by number; None: without such files.
    """
    from torch_geometric.datasets import MD17

    folder = Path(root) / "MD17" / "raw" / "rmd17"
    (folder / "npz_data").mkdir(parents=True, exist_ok=True)
    path = folder / "npz_data" / MD17.file_names[f"revised {name}"]
    np.savez(path, nuclear_charges=frames["z"], coords=frames["R"], energies=frames["E"], forces=frames["F"])
    for number, parts in (splits or {}).items():
        (folder / "splits").mkdir(exist_ok=True)
        for part, indices in zip(("train", "test"), parts):
            (folder / "splits" / f"index_{part}_{number:02d}.csv").write_text("\n".join(map(str, indices)) + "\n")
    return path


def _sdf(name: str, molecule: Molecule) -> str:
    lines = [name, "", "", f"{len(molecule.z):3d}{len(molecule.bonds):3d}  0  0  0  0  0  0  0  0999 V2000"]
    for z, (x, y, w) in zip(molecule.z, molecule.pos):
        lines.append(f"{x:10.4f}{y:10.4f}{w:10.4f} {SYMBOLS[int(z)]:<3s} 0  0  0  0  0  0  0  0  0  0  0  0")
    lines += [f"{a + 1:3d}{b + 1:3d}{order:3d}  0" for a, b, order in molecule.bonds]
    return "\n".join([*lines, "M  END", "$$$$", ""])


def _formula(z: np.ndarray, pos: np.ndarray) -> tuple[float | None, ...]:
    """Values of about the right size: bonds strengthen with the inverse distance of the atoms."""
    n, heavy = len(z), int((z > 1).sum())
    distances = np.linalg.norm(pos[:, None] - pos[None], axis=-1)[np.triu_indices(n, 1)]
    binding = -0.02 * float((1 / distances).sum())
    total = np.array([FREE_ATOMS[int(k)] for k in z]).sum(axis=0) + binding
    spread = float(((pos - pos.mean(0)) ** 2).sum())
    homo, lumo = -0.2 - 0.01 * heavy, 0.1 - 0.02 * heavy
    return (
        None,
        None,
        None,
        0.3 * heavy,
        6.0 * n,
        homo,
        lumo,
        lumo - homo,
        30.0 + 5 * spread,
        0.01 * n,
        *total,
        1.5 * n,
    )


def _rotational_constants(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """A ≥ B ≥ C in GHz; 0 about the axis of a linear molecule, as the published file has it."""
    mass = np.array([MASSES[int(k)] for k in z])
    x = pos - (mass[:, None] * pos).sum(0) / mass.sum()
    inertia = np.einsum("a,aij->ij", mass, (x**2).sum(1)[:, None, None] * np.eye(3) - x[:, :, None] * x[:, None])
    moments = np.linalg.eigvalsh(inertia)
    return np.where(moments > 1e-3, ROTATION / np.maximum(moments, 1e-3), 0.0)
