"""Files of predictions: extended XYZ, CSV, NumPy archives and ASE databases."""

import csv
import gzip
import lzma
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch_geometric.data import Data

from .. import keys
from ..data.structure_sets import Target
from .predictions import Predictions
from .whole_files import whole_file

if TYPE_CHECKING:
    from ase import Atoms

#: Writes structures and predictions to a path.
Writer = Callable[[Path, Sequence[Data], Predictions], None]

#: Results that ASE knows by these names, where they are of this kind.
ASE_RESULTS = {
    "energy": "graph_scalar",
    "forces": "node_vector",
    "stress": "graph_tensor",
    "dipole": "graph_vector",
    "charges": "node_scalar",
    "magmom": "graph_scalar",
    "magmoms": "node_scalar",
}
#: ASE's order of the components of a symmetric tensor.
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def write_predictions(
    path: str | Path, structures: Sequence[Data], predictions: Predictions, *, overwrite: bool = False
) -> None:
    """Write structures with what was predicted for them, whole or not at all.

    Predictions keep the name of their target, `<name>_std` is the spread of a committee, `true_<name>` the label
    that the structure came with. The suffix of the path decides:

    - .xyz, .extxyz, also with .xz or .gz: extended XYZ; energy, forces and stress where ASE expects them, others in
      the comment line (per structure) or as columns (per atom, eight decimals);
    - .csv: a row per structure with its formula, values per structure, and their units in the header;
    - .npz: `z`, `pos`, `num_atoms`, `cell` and `pbc` where there are any, all values, and `<name>_unit`; what is
      per atom comes one structure after the other;
    - .db: ASE database; what is neither a result in ASE's sense nor a number per structure is in `data`.

    Args:
        path: of the file.
        structures: those that were predicted, in the same order; read one at a time.
        predictions: what `predict` returned for them.
        overwrite: whether a file that exists already may be replaced.

    Raises:
        ValueError: if the suffix is another, the file exists, the structures are not those of the predictions, or
            values per atom are to go to a CSV file.
        ImportError: if ASE is needed and not installed.
    """
    path = Path(path)
    writer = check_output(path, predictions.targets, overwrite=overwrite)
    if len(structures) != len(predictions):
        raise ValueError(f"expected the {len(predictions)} structures that were predicted, got {len(structures)}")
    with whole_file(path) as part:
        writer(part, structures, predictions)


def check_output(path: str | Path, targets: Sequence[Target], *, overwrite: bool = False) -> Writer:
    """Return what writes a file of predictions, or say why there can be none: before anything is predicted.

    Args:
        path: of the file.
        targets: what will be predicted.
        overwrite: whether a file that exists already may be replaced.

    Raises:
        ValueError: if the suffix is unknown, the file exists, or values per atom are to go to a CSV file.

    Example:
        >>> check_output("gaps.csv", [Target("gap", "graph_scalar", "eV")]).__name__
        '_write_csv'
    """
    path = Path(path)
    name = path.name.lower()
    suffix = next((s for s in WRITERS if name.endswith(s)), None)
    if suffix is None:
        raise ValueError(f"{path}: expected a file ending in {', '.join(WRITERS)}")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already, expected the name of a new file (--overwrite replaces it)")
    if suffix == ".csv" and (per_atom := [t.name for t in targets if t.per_atom]):
        raise ValueError(
            f"{path}: a CSV file has a row per structure, but {', '.join(per_atom)} are per atom; "
            "write a .xyz, .npz or .db file"
        )
    return WRITERS[suffix]


def _records(
    structures: Sequence[Data], predictions: Predictions
) -> Iterator[tuple[Data, dict[str, tuple[Target, np.ndarray]]]]:
    """Each structure with its own values by name; a value of which nothing is known is left out."""
    ends = np.cumsum(predictions.num_atoms)
    for index, stop in enumerate(ends):
        structure, atoms = structures[index], slice(stop - predictions.num_atoms[index], stop)
        if not np.array_equal(structure[keys.Z].reshape(-1).cpu().numpy(), predictions.z[atoms]):
            raise ValueError(f"structure {index} is not the one that was predicted: its atoms are others")
        values = {}
        for name, target, array in _columns(predictions):
            value = array[atoms] if target.per_atom else array[index]
            if np.isfinite(value).any():
                values[name] = (target, value)
        yield structure, values


def _columns(predictions: Predictions) -> Iterator[tuple[str, Target, np.ndarray]]:
    """Names in the file, targets and values: prediction, spread and label of each target."""
    for target in predictions.targets:
        name = target.name
        for label, values in (
            (name, predictions.predicted),
            (f"{name}_std", predictions.spread),
            (f"true_{name}", predictions.true),
        ):
            if name in values:
                yield label, target, values[name]


def _require_ase() -> None:
    try:
        import ase  # noqa: F401
    except ImportError as error:
        raise ImportError('writing structures needs ASE: pip install "pyg_equiformer[train]"') from error


def _atoms(structure: Data) -> "Atoms":
    from ase import Atoms

    cell, pbc = structure.get(keys.CELL), structure.get(keys.PBC)
    return Atoms(
        numbers=structure[keys.Z].reshape(-1).cpu().numpy(),
        positions=structure[keys.POS].detach().double().cpu().numpy(),
        cell=None if cell is None else cell.detach().double().cpu().numpy().reshape(3, 3),
        pbc=None if pbc is None else pbc.cpu().numpy().reshape(3),
    )


def _with_results(structure: Data, values: dict[str, tuple[Target, np.ndarray]]) -> "tuple[Atoms, dict[str, Any]]":
    """The structure with the results that ASE has names for, and the other values."""
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = _atoms(structure)
    results: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, (target, value) in values.items():
        stress = target.name == keys.STRESS and target.kind == "graph_tensor"
        plain = float(value) if value.ndim == 0 else value[VOIGT] if stress else value
        (results if ASE_RESULTS.get(name) == target.kind else others)[name] = plain
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms, others


def _write_xyz(part: Path, structures: Sequence[Data], predictions: Predictions) -> None:
    _require_ase()
    from ase.io.extxyz import write_xyz

    open_text: Any = {".xz": lzma.open, ".gz": gzip.open}.get(part.suffix.lower(), open)
    with open_text(part, "wt", encoding="utf-8") as file:
        for structure, values in _records(structures, predictions):
            atoms, others = _with_results(structure, values)
            for name, value in others.items():
                (atoms.arrays if values[name][0].per_atom else atoms.info)[name] = value
            write_xyz(file, [atoms])


def _write_db(part: Path, structures: Sequence[Data], predictions: Predictions) -> None:
    _require_ase()
    from ase.db import connect
    from ase.db.core import reserved_keys

    try:
        # One transaction: a commit per structure would wait for the disk each time.
        with connect(part, type="db") as database:
            for structure, values in _records(structures, predictions):
                atoms, others = _with_results(structure, values)
                pairs = {k: v for k, v in others.items() if isinstance(v, float) and k not in reserved_keys}
                database.write(atoms, pairs, data={k: v for k, v in others.items() if k not in pairs})
    except sqlite3.OperationalError as error:  # SQLite's word for a full disk
        raise OSError(str(error)) from error
    finally:
        part.with_name(part.name + ".lock").unlink(missing_ok=True)


def _write_csv(part: Path, structures: Sequence[Data], predictions: Predictions) -> None:
    _require_ase()
    columns = list(_columns(predictions))
    header = ["index", "formula"]
    for name, target, _ in columns:
        unit = f" [{target.unit}]" if target.unit else ""
        header += [f"{name}{axes}{unit}" for axes in _axes(target)]
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for index, (structure, values) in enumerate(_records(structures, predictions)):
            row: list[Any] = [index, _atoms(structure).get_chemical_formula()]
            for name, target, _ in columns:
                # An empty cell is a label that is missing.
                numbers = values[name][1].ravel().tolist() if name in values else [""] * len(_axes(target))
                row += [number if number == "" else repr(number) for number in numbers]
            writer.writerow(row)


def _axes(target: Target) -> list[str]:
    if target.kind == "graph_vector":
        return ["_x", "_y", "_z"]
    return [f"_{a}{b}" for a in "xyz" for b in "xyz"] if target.kind == "graph_tensor" else [""]


def _write_npz(part: Path, structures: Sequence[Data], predictions: Predictions) -> None:
    empty = {keys.CELL: np.zeros((1, 3, 3)), keys.PBC: np.zeros((1, 3), dtype=bool)}
    geometry: dict[str, list[np.ndarray]] = {keys.POS: [], keys.CELL: [], keys.PBC: []}
    for structure, _ in _records(structures, predictions):
        for name, column in geometry.items():
            value = structure.get(name)
            column.append(empty[name] if value is None else value.detach().cpu().numpy())
    arrays: dict[str, Any] = {name: np.concatenate(values) for name, values in geometry.items()}
    if not arrays[keys.CELL].any():
        del arrays[keys.CELL], arrays[keys.PBC]
    arrays |= {name: array for name, _, array in _columns(predictions)}
    arrays |= {f"{t.name}_unit": np.array(t.unit) for t in predictions.targets}
    with part.open("wb") as file:
        np.savez_compressed(file, z=predictions.z, num_atoms=predictions.num_atoms, **arrays)


#: By the end of the file's name.
WRITERS: dict[str, Writer] = {
    **{name + packing: _write_xyz for name in (".xyz", ".extxyz") for packing in ("", ".xz", ".gz")},
    ".csv": _write_csv,
    ".npz": _write_npz,
    ".db": _write_db,
}
