"""Atoms of mmCIF files, read by biotite; what is wrong in such a file is told with its line where it is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

#: Columns of `_atom_site` that every file needs; of the second ones, the author's (auth_) or the other (label_).
_NEEDED = ("Cartn_x", "Cartn_y", "Cartn_z")
_EITHER = ("asym_id", "seq_id", "comp_id", "atom_id")
#: What stands for columns that some programs do not write.
_DEFAULTS = {
    "group_PDB": "ATOM",
    "type_symbol": "?",
    "label_alt_id": ".",
    "pdbx_PDB_ins_code": "?",
    "pdbx_PDB_model_num": "1",
}


def check_cif(path: Path, text: str, tally: Counter[str]) -> str:
    """Return the name of the data block with the atoms.

    Args:
        path: of the file, for messages.
        text: of the file.
        tally: files that may be cut are added to it.

    Raises:
        ValueError: for a file without atoms, with those of several structures, or without the columns that are needed.

    Example:
        >>> columns = "".join(f"_atom_site.{name}\\n" for name in (*_NEEDED, *("auth_" + name for name in _EITHER)))
        >>> check_cif(Path("a.cif"), f"data_1ABC\\nloop_\\n{columns}0.0 0.0 0.0 A 1 GLY CA\\n#\\n", Counter())
        '1ABC'
    """
    block, columns = "", dict[str, list[str]]()
    for line in text.splitlines():
        if line.startswith("data_"):
            block = line.split()[0].removeprefix("data_")
        elif line.startswith("_atom_site."):
            columns.setdefault(block, []).append(line.split()[0].removeprefix("_atom_site."))
    if not columns:
        raise ValueError(f"{path}: expected an mmCIF file, found no _atom_site category")
    if len(columns) > 1:
        raise ValueError(f"{path}: expected the atoms of one structure, got those of the data blocks {_list(columns)}")
    ((block, names),) = columns.items()
    missing = [name for name in _NEEDED if name not in names]
    missing += [f"auth_{name}" for name in _EITHER if f"auth_{name}" not in names and f"label_{name}" not in names]
    if missing:
        raise ValueError(f"{path}: expected more columns of _atom_site, missing are {_list(missing)}")
    tally["mmCIF files that do not end with #, perhaps cut at the end of a line"] += text.rstrip()[-1] != "#"
    return block


def parse_cif(text: str, block: str) -> tuple[int, Any]:
    """Return the number of models, and biotite's atoms of the first with all alternate locations.

    Coordinates that are unknown (? or .) are NaN, and occupancies that are unknown 1.
    """
    from io import StringIO

    from biotite.structure.io import pdbx

    data = pdbx.CIFFile.read(StringIO(text))[block]
    site = data["atom_site"]
    for name, value in _DEFAULTS.items():
        if name not in site:
            site[name] = [value] * site.row_count
    for name, value in (*((name, "nan") for name in _NEEDED), ("occupancy", "1.0")):
        if name in site:
            site[name] = site[name].as_array(str, value)
    if "auth_seq_id" in site:
        site["auth_seq_id"].as_array(str, "").astype(int)  # unknown ones would all become the residue -1
    atoms = pdbx.get_structure(data, model=1, altloc="all", extra_fields=["occupancy"])
    return pdbx.get_model_count(data), atoms


def broken_row(text: str) -> str:
    """Name the first row of atoms with too few values or one that is no number, for a text that could not be parsed.

    Example:
        >>> broken_row("data_A\\nloop_\\n_atom_site.Cartn_x\\n_atom_site.auth_seq_id\\n1.0 1\\n1.0\\n")
        ', line 6: expected 2 values, got 1'
    """
    lines = text.splitlines()
    places = [i for i, line in enumerate(lines) if line.startswith("_atom_site.")]
    columns = [lines[i].split()[0].removeprefix("_atom_site.") for i in places]
    for number, row in enumerate(lines[places[-1] + 1 :], places[-1] + 2) if places else ():
        if row.startswith(("#", "loop_", "_", "data_")):
            break
        values = row.split()
        if len(values) < len(columns):
            return f", line {number}: expected {len(columns)} values, got {len(values)}"
        if len(values) == len(columns):  # more of them where there are blanks in quotes
            for name, value in zip(columns, values):
                if expected := _no_number(name, value):
                    return f", line {number}: expected {expected} as {name}, got {value!r}"
    return ""


def _no_number(name: str, value: str) -> str:
    """Say what was expected of a value that is not of its column's kind; "" if it is."""
    kinds: dict[str, tuple[type, str]] = dict.fromkeys((*_NEEDED, "occupancy"), (float, "a number"))
    kind, expected = {**kinds, "auth_seq_id": (int, "the number of a residue")}.get(name, (str, ""))
    try:
        if kind is int or value not in ("?", "."):
            kind(value)
    except ValueError:
        return expected
    return ""


def _list(names: Any) -> str:
    return ", ".join(name or "(without a name)" for name in names)
