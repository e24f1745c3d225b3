"""`pyg-equiformer fold predict` and `fold eval`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import command, console, progress_bar
from .fold import fold

if TYPE_CHECKING:
    from ..folding.predict import Prediction

_RUN = "Folder of a run of `fold train`, or its model.pt."
_STARTS = "Random starts for each protein; the structure that the model is most confident of is kept."


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    sequences: Annotated[
        Path,
        typer.Argument(
            metavar="SEQUENCES",
            help="FASTA (.fasta, .fa, .faa) with ':' between chains of a complex, or CSV (.csv) with columns "
            "name,sequence or, for antibodies, name,heavy,light; also with .gz.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="OUT", help="Folder for NAME.pdb of each protein, or a .pdb or .cif file."),
    ],
    cif: Annotated[bool, typer.Option("--cif", help="Write mmCIF files into the folder.")] = False,
    starts: Annotated[int, typer.Option(min=1, help=_STARTS)] = 1,
    recycles: Annotated[
        int | None, typer.Option(min=0, help="Further passes through the model. \\[default: as trained]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the starts.")] = 0,
    max_length: Annotated[int, typer.Option(min=1, help="Longest chain in residues.")] = 2000,
    relaxed: Annotated[
        bool,
        typer.Option("--relax", help="Also write NAME_relaxed.pdb, with violations mended. \\[extra: relax]"),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Fold proteins from their sequences.

    The B-factor of each residue is the confidence of the model: the lDDT of its Cα that it expects, 0 to 100. It tells
    as much as the model has learnt to tell. With --relax, violations are mended as `fold relax` does.
    """
    import torch

    from ..data import read_sequences
    from ..data.protein_writer import write_chains
    from ..folding import load_fold_model
    from ..folding.amber import require_openmm
    from ..folding.predict import fold_sequences

    if relaxed:
        require_openmm()
    model = load_fold_model(run).to("cuda" if torch.cuda.is_available() else "cpu")
    records, tally = read_sequences(sequences, max_length=max_length)
    for what, count in tally.items():
        _say(f"{count} {what}")
    paths = _paths(out, [record.name for record in records], cif, overwrite, relaxed)
    failed = 0
    with progress_bar("proteins") as bar:
        task = bar.add_task("folding", total=len(records))
        found = fold_sequences(model, records, starts=starts, seed=seed, recycles=recycles)
        for done, (path, prediction) in enumerate(zip(paths, found), 1):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_chains(path, prediction.chains, b_factor=prediction.confidence)
            bar.update(task, completed=done)
            residues = sum(len(chain.sequence) for chain in prediction.chains)
            _say(f"{prediction.name}: {residues} residues, confidence {prediction.mean_confidence:.0f} → {path}")
            if relaxed and not _relax(prediction, _relaxed_path(path)):
                failed += 1
    if failed:
        raise ValueError(f"{failed} of {len(records)} structures could not be relaxed, see above")


def _relax(prediction: "Prediction", path: Path) -> bool:
    """Relax a prediction, tell how that went, and return whether it did."""
    from ..data.protein_writer import write_chains
    from ..folding import relax

    try:
        found = relax(prediction.chains)
    except ValueError as error:
        _say(f"{prediction.name}: not relaxed: {error}")
        return False
    write_chains(path, found.chains, b_factor=prediction.confidence)
    _say(f"{prediction.name}: {found} → {path}")
    return True


def _relaxed_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_relaxed{path.suffix}")


def _paths(out: Path, names: list[str], cif: bool, overwrite: bool, relaxed: bool) -> list[Path]:
    """Files to write, none of which exists unless it is to be replaced."""
    if out.suffix in (".pdb", ".cif"):
        if len(names) > 1:
            raise ValueError(f"{out} is one file for {len(names)} proteins, expected a folder")
        paths = [out]
    else:
        if out.is_file():
            raise ValueError(f"{out} is a file, expected a folder, or a name that ends in .pdb or .cif")
        paths = [out / f"{name}.{'cif' if cif else 'pdb'}" for name in names]
    written = [*paths, *(map(_relaxed_path, paths) if relaxed else ())]
    if len(twice := [path for path in written if written.count(path) > 1]):
        raise ValueError(f"{twice[0]} would be written twice, expected other names than NAME and NAME_relaxed")
    there = [path for path in written if path.exists()]
    if there and not overwrite:
        raise ValueError(f"{there[0]} exists already, expected another --out, or --overwrite")
    return paths


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=_RUN)],
    structures: Annotated[
        list[Path],
        typer.Argument(metavar="STRUCTURES...", help="Known structures: PDB, mmCIF or .npz files, or folders of them."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="New folder for the results. \\[default: RUN/eval]"),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help=_STARTS)] = 1,
    recycles: Annotated[
        int | None, typer.Option(min=0, help="Further passes through the model. \\[default: as trained]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the starts.")] = 0,
    max_length: Annotated[
        int, typer.Option(min=3, help="Proteins with more residues are left out, and counted.")
    ] = 1000,
) -> None:
    """Fold the sequences of known structures and compare: RMSD, lDDT, TM-score and violations.

    The folder holds metrics.json and folds.png, with the true and the predicted Cα on top of each other. The model
    starts at random, never from the structure.
    """
    import torch

    from ..data.protein_chains import read_protein_chains
    from ..folding import load_fold_model
    from ..folding.evaluate import compare_folds, mean_metrics, plot_folds
    from ..folding.structures import entries_of
    from ..training.folder import check_new, new_folder

    model = load_fold_model(run).to("cuda" if torch.cuda.is_available() else "cpu")
    target = out if out is not None else (run if run.is_dir() else run.parent) / "eval"
    check_new(target, "")
    chains, tally = read_protein_chains(structures, "heavy")
    entries = entries_of(chains)
    short = [e for e in entries if 3 <= sum(len(c.sequence) for c in e) <= max_length]
    if len(short) < len(entries):
        tally[f"proteins of less than 3 or more than {max_length} residues left out"] = len(entries) - len(short)
    for what, count in tally.items():
        _say(f"{count} {what}")
    if not short:
        raise ValueError(f"expected proteins of 3 to {max_length} residues, found none")
    results = []
    with progress_bar("proteins") as bar:
        task = bar.add_task("folding", total=len(short))
        for result in compare_folds(model, short, starts=starts, seed=seed, recycles=recycles):
            results.append(result)
            bar.update(task, completed=len(results))
    folder = new_folder(target, "")
    told = {
        "mean": mean_metrics(results),
        "proteins": [{"name": r.name, "residues": len(r.sequence), **r.metrics} for r in results],
        "units": {"ca_rmsd": "Å", "all_atom_rmsd": "Å", "violations": "per residue", "confidence": "0 to 100"},
        "left_out": dict(tally),
    }
    (folder / "metrics.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    plot_folds(folder / "folds.png", results)
    _table(told)
    _say(f"metrics and figure are in {folder}/")


def _table(told: dict[str, Any]) -> None:
    from rich.table import Table

    columns = {
        "ca_rmsd": "Cα RMSD Å", "all_atom_rmsd": "all-atom RMSD Å", "lddt_ca": "lDDT Cα", "lddt": "lDDT",
        "tm_score": "TM", "violations": "violations / residue", "confidence": "confidence",
    }  # fmt: skip
    table = Table()
    table.add_column("protein", overflow="fold", min_width=12)
    for title in ("residues", *columns.values()):
        table.add_column(title, justify="right")
    for row in told["proteins"]:
        table.add_row(row["name"], str(row["residues"]), *(f"{row[name]:.2f}" for name in columns))
    table.add_section()
    table.add_row("mean", "", *(f"{told['mean'][name]:.2f}" for name in columns))
    console().print(table)


def _say(text: str) -> None:
    console().print(text, highlight=False, markup=False, soft_wrap=True)


evaluate.__name__ = "eval"
command(predict, fold)
command(evaluate, fold)
