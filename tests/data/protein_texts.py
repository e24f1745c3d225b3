"""PDB and mmCIF texts of small made-up chains, whose residues are bonded in a straight line."""

from collections.abc import Sequence

SPACING = 3.6  # Å along x from one residue to the next; C and the next N are 1.2 Å apart
_PLACES = {"N": (0.0, 0.0), "CA": (1.2, 0.8), "C": (2.4, 0.0), "O": (2.4, -1.2), "CB": (1.2, 2.3), "SE": (1.2, 5.0)}


def atom(
    name: str,
    residue: str = "ALA",
    number: int = 1,
    *,
    code: str = " ",
    chain: str = "A",
    altloc: str = " ",
    occupancy: float = 1.0,
    record: str = "ATOM",
    x: float | None = None,
    place: int | None = None,
) -> str:
    """One line of an atom; it stands where the residue of that number, or at that place, has it."""
    along, y = _PLACES.get(name, (0.0, 7.0))
    along = SPACING * (number if place is None else place) + along if x is None else x
    element = {"SE": "SE"}.get(name, name[:1])
    column = name if len(element) == 2 else f" {name}"
    return (
        f"{record:<6}{1:5d} {column:<4}{altloc}{residue:>3} {chain}{number:4d}{code}   "
        f"{along:8.3f}{y:8.3f}{0.0:8.3f}{occupancy:6.2f}{10.0:6.2f}          {element:>2}  "
    )


def residue(name: str = "ALA", number: int = 1, atoms: Sequence[str] = ("N", "CA", "C", "O"), **options) -> list[str]:
    """Lines of a residue."""
    return [atom(a, name, number, **options) for a in atoms]


def pdb(*residues: Sequence[str]) -> str:
    """The text of a file."""
    return "\n".join([line for lines in residues for line in lines] + ["END"]) + "\n"


def chain(names: str = "AAAA", **options) -> str:
    """The text of a file with one chain of alanine (A), glycine (G) and serine (S)."""
    three = {"A": "ALA", "G": "GLY", "S": "SER"}
    return pdb(*(residue(three[name], k, **options) for k, name in enumerate(names, 1)))


_COLUMNS = (
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_comp_id",
    "auth_asym_id",
    "auth_atom_id",
    "pdbx_PDB_model_num",
)


def mmcif(text: str) -> str:
    """The same atoms as a PDB text, as mmCIF."""
    rows = []
    for number, line in enumerate((li for li in text.splitlines() if li.startswith(("ATOM", "HETATM"))), 1):
        record, name, altloc = line[:6].strip(), line[12:16].strip(), line[16].strip() or "."
        residue, chain, seq, code = line[17:20].strip(), line[21], line[22:26].strip(), line[26].strip() or "?"
        x, y, z, occupancy, element = line[30:38], line[38:46], line[46:54], line[54:60], line[76:78].strip()
        values = [record, number, element, name, altloc, residue, chain, 1, seq, code, x, y, z, occupancy, "10.0"]
        rows.append(" ".join(str(v).strip() for v in [*values, seq, residue, chain, name, 1]))
    return "\n".join(["data_TEST", "#", "loop_", *(f"_atom_site.{c}" for c in _COLUMNS), *rows, "#"]) + "\n"
