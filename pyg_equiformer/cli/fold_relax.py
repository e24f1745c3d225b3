"""`pyg-equiformer fold relax`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import command, console
from .fold import fold


def relax(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A structure: PDB (.pdb, .ent) or mmCIF (.cif, .mmcif), also with .gz."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The .pdb or .cif file to write.")],
    stiffness: Annotated[
        float | None,
        typer.Option(
            help="Of the springs that hold heavy atoms, in eV/Å². \\[default: 0.434, which is 10 kcal/mol/Å²]"
        ),
    ] = None,
    max_rounds: Annotated[
        int, typer.Option(min=1, help="Most minimisations; residues that violate after one are free in the next.")
    ] = 5,
    solvent: Annotated[
        str, typer.Option(help="obc, a generalised Born model of water, or none, which is several times as fast.")
    ] = "obc",
    join: Annotated[
        bool,
        typer.Option(
            "--join", help="Bond residues whose numbers follow each other, also where they are 2 Å apart and more."
        ),
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="On the CPU. \\[default: all cores]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Mend violations of covalent geometry in the Amber force field: bonds, angles, peptide links and clashes.

    Heavy atoms are held by springs where they are; residues that violate after a minimisation are set free for the
    next. All chains of the file are relaxed together, with all their heavy atoms. Written are the heavy atoms of the
    amino acids: hydrogens, ligands and B-factors are not kept. Where C and the next N are 2 Å apart the chain is
    broken, and stays so without --join. Needs OpenMM, the extra "relax".
    """
    from ..data.protein_chains import read_protein_chains
    from ..data.protein_writer import WRITTEN, write_chains
    from ..folding.amber import require_openmm
    from ..folding.relax import STIFFNESS, join_by_numbers
    from ..folding.relax import relax as relaxed
    from ..folding.structures import entries_of

    require_openmm()
    if out.suffix.lower() not in WRITTEN:
        raise ValueError(f"{out}: expected a name that ends in {' or '.join(WRITTEN)}")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists already, expected another --out, or --overwrite")
    chains, tally = read_protein_chains(file, atoms="heavy")
    for what, count in tally.items():
        _say(f"{count} {what}")
    if (number := len(entries_of(chains))) != 1:
        raise ValueError(f"{file}: expected one structure, got {number}")
    found = relaxed(
        [join_by_numbers(chain) for chain in chains] if join else chains,
        stiffness=STIFFNESS if stiffness is None else stiffness,
        max_rounds=max_rounds,
        solvent=solvent,  # type: ignore[arg-type]  # it says what there is
        threads=threads,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_chains(out, found.chains)
    _say(f"{found} → {out}")


def _say(text: str) -> None:
    console().print(text, highlight=False, markup=False, soft_wrap=True)


command(relax, fold)
