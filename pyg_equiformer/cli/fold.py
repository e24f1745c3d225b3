"""`pyg-equiformer fold`: proteins from their sequence, and whether structures make sense."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import app, command, console

fold = typer.Typer(
    help="Fold proteins from their sequence, and check the geometry of any structure.", invoke_without_command=True
)
app.add_typer(fold, name="fold")


@fold.callback()
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        context.get_help()  # shows it


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...",
            help="Structures: PDB (.pdb, .ent) and mmCIF (.cif, .mmcif) files, also with .gz, or folders of them.",
            show_default=False,
        ),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write all violations, residue by residue, as JSON.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the violations along the residues of one structure.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Standard deviations that a length or an angle may be off.")] = 12.0,
) -> None:
    """Find violations of covalent geometry: bonds, angles, peptide links, and atoms of two residues that clash.

    Lengths and angles are compared with those of crystal structures; atoms that are not bonded clash where their
    spheres overlap by more than 1.5 Å. All chains of a file are checked together.
    """
    from ..data.protein_chains import read_protein_chains
    from ..folding.report import entry_violations, plot_violations, violation_summary

    chains, tally = read_protein_chains(files, atoms="heavy")
    entries: dict[str, list[Any]] = {}
    for chain in chains:
        entries.setdefault(chain.entry, []).append(chain)
    if figure is not None and len(entries) > 1:
        raise ValueError(f"--figure draws one structure, got {len(entries)}")
    for what, count in tally.items():
        console().print(f"{count} {what}", highlight=False, markup=False)
    told = {}
    for title, parts in zip(_titles(list(entries)), entries.values()):
        found, names = entry_violations(parts, tolerance)
        told[title] = violation_summary(found, names)
        if figure is not None:
            plot_violations(figure, found, title)
    _show(told)
    if json_file is not None:
        json_file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _titles(entries: list[str]) -> list[str]:
    """Names of entries without their files, but for those whose name another one has too."""
    names = [entry.rpartition(":")[2] for entry in entries]
    return [name if names.count(name) == 1 else entry for name, entry in zip(names, entries)]


def _show(told: dict[str, Any]) -> None:
    """Print a table with a row per structure, and the residues of a single one."""
    from rich.table import Table

    from ..folding.violations import KINDS

    table = Table()
    table.add_column("structure", overflow="fold", min_width=12)
    for title in ("residues", *(kind.replace("_", " ") for kind in KINDS), "residues with any"):
        table.add_column(title, justify="right")
    for name, entry in told.items():
        counts = [str(entry["violations"][kind]) for kind in KINDS]
        table.add_row(name, str(entry["residues"]), *counts, str(entry["residues_with_violations"]))
    console().print(table)
    if len(told) == 1:
        (entry,) = told.values()
        for row in entry["worst"]:
            unit = "" if row["kind"].endswith("angles") else " Å"
            where = " and ".join(dict.fromkeys(row["residues"]))
            what = row["kind"].replace("_", " ")
            console().print(
                f"{what}: {row['atoms']} of {where}: {row['excess']:.3f}{unit} too far off", highlight=False
            )


command(check, fold)
