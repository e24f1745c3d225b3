"""`pyg-equiformer denoise`: the first task on proteins."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import command, console, progress_bar, seconds

if TYPE_CHECKING:
    from torch_geometric.data import Data

_FILES = (
    "Protein structures: PDB (.pdb, .ent) and mmCIF (.cif, .mmcif) files, also with .gz, folders of them, or arrays "
    "of chains (.npz)."
)


@command
def denoise(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help=_FILES, show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results; it must be new or empty.")
    ],
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise in Å, for each of x, y and z.")] = 1.0,
    atoms: Annotated[
        str, typer.Option(metavar="SET", help="backbone (N, CA, C) or heavy (all atoms but hydrogen).")
    ] = "backbone",
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Files to test with; may be given several times. \\[default: part of FILES]"),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            metavar="PART",
            help="Part of the chains to test with: a fraction, or a number of chains. Chains of one file, or with the "
            "same sequence, stay together. \\[default: 0.2]",
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Longest time of the training: 90s, 20m, 1.5h. The learning rate falls to its end within it. "
            "\\[default: 10m, or no limit with --epochs]",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the chains. \\[default: no limit]")] = None,
    cutoff: Annotated[float, typer.Option(help="Neighbours are nearer than this in Å, or next along the chain.")] = 6.0,
    layers: Annotated[int, typer.Option(min=1, help="Blocks of the network.")] = 3,
    irreps: Annotated[
        str, typer.Option(metavar="IRREPS", help="Features between the blocks, with scalars (0e) and vectors (1e).")
    ] = "32x0e+32x1e",
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 4,
    attention: Annotated[str, typer.Option(metavar="KIND", help="Kind of attention: mlp, dot or distance.")] = "mlp",
    batch_size: Annotated[int, typer.Option(min=1, help="Chains per step.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate, of AdamW.")] = 3e-3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, noise, split and order.")] = 0,
) -> None:
    """Train a network to move noisy atoms of proteins back to their places, and test it on other chains.

    Gaussian noise is added to the positions, anew in every step; the network sees the noisy atoms within the cutoff,
    those of the residues next to each other, and how far apart residues are in the sequence, and predicts the
    displacement back. Printed are the RMSD before and after for each test chain, without superposition, and what was
    left out in reading the files. DIR holds metrics.json, denoising.png, the network model.pt, and the noisy and the
    denoised test chains as PDB files in structures/. Ctrl-C ends the training early and tests what was learnt.
    """
    from ..training.folder import check_new, new_folder
    from ..training.protein_denoising import ProteinDenoisingConfig

    check_new(out, "")
    if test and test_fraction is not None:
        raise ValueError("--test and --test-fraction both tell what to test with, expected one of them")
    limit = seconds(max_time) if max_time is not None else None if epochs is not None else 600.0
    settings: dict[str, Any] = {"atoms": atoms, "noise": noise, "cutoff": cutoff, "layers": layers, "irreps": irreps}
    settings |= {"heads": heads, "attention": attention, "epochs": epochs, "max_time": limit, "seed": seed}
    config = ProteinDenoisingConfig(**settings, batch_size=batch_size, learning_rate=learning_rate)
    config.network()  # tells of settings that do not fit together before files are read
    part = 0.2 if test_fraction is None else test_fraction
    train_chains, test_chains, tally = _read(files, test, part, config.atoms, seed)
    _run(config, train_chains, test_chains, tally, new_folder(out, ""))


def _read(
    files: list[Path], test: list[Path] | None, part: float, atoms: Any, seed: int
) -> "tuple[list[Data], list[Data], Counter[str]]":
    """Chains to train on and to test with, and what was left out, which is told."""
    from ..data.protein_chains import read_protein_chains
    from ..data.protein_split import split_chains, without_sequences

    with progress_bar("files") as bar:
        task = bar.add_task("reading", total=None)

        def read(paths: list[Path]) -> "tuple[list[Data], Counter[str]]":
            found = read_protein_chains(
                paths, atoms, progress=lambda done, total: bar.update(task, completed=done, total=total)
            )
            return found.chains, found.tally

        chains, tally = read(files)
        test_chains = None
        if test:
            test_chains, more = read(test)
            tally += more
    _say(f"read {len(chains) + len(test_chains or [])} chains")
    for what, count in tally.items():
        _say(f"  {count} {what}")
    if test_chains is None:
        return *split_chains(chains, part, seed), tally
    other = without_sequences(chains, test_chains)
    if len(other) < len(chains):
        what = "chains with the sequence of a test chain left out of the training"
        tally[what] = len(chains) - len(other)
        _say(f"  {tally[what]} {what}")
    if not other:
        raise ValueError("all chains have the sequence of a test chain, expected others to train on")
    return other, test_chains, tally


def _run(
    config: Any, train_chains: "list[Data]", test_chains: "list[Data]", tally: "Counter[str]", folder: Path
) -> None:
    """Train, test, and write the results."""
    import dataclasses

    import torch

    from ..checkpoints import save_model
    from ..training.hardware import hardware
    from ..training.progress import StopOnInterrupt
    from ..training.protein_denoising import denoise_chains, train_denoiser
    from ..training.protein_report import write_report

    device = "cuda" if torch.cuda.is_available() else "cpu"
    _say(f"training on {len(train_chains)} chains, testing with {len(test_chains)}")
    trained: dict[str, Any] = {}

    def report(epoch: int, steps: int, time: float, rmsd: float) -> None:
        trained.update(epochs=epoch, steps=steps, seconds={"value": round(time, 1), "unit": "s"})
        _say(f"epoch {epoch}, step {steps}, {time:.0f} s: training RMSD {rmsd:.3f} Å")

    with StopOnInterrupt() as interrupt:
        model = train_denoiser(train_chains, config, device, report, stop=lambda: interrupt.requested)
    if interrupt.requested:
        _say(f"{interrupt.reason} ended the training early; testing what was learnt, a second one ends that")
    save_model(folder / "model.pt", model.cpu())
    results = []
    for result in denoise_chains(model.to(device), test_chains, config.noise, config.seed, cutoff=config.cutoff):
        results.append(result)
        length = len(result.chain.sequence)
        _say(f"{result.chain.name}, {length} residues: RMSD {result.rmsd_before:.3f} → {result.rmsd_after:.3f} Å")
    sets: dict[str, Any] = {"train_chains": len(train_chains), "test_chains": len(test_chains), "reading": dict(tally)}
    run = {"settings": dataclasses.asdict(config), **sets, "training": trained, "hardware": hardware()}
    told = write_report(folder, results, run)["test"]
    _say(
        f"mean RMSD of {len(results)} test chains: {told['rmsd_before']['value']:.3f} Å with noise, "
        f"{told['rmsd_after']['value']:.3f} Å after denoising"
    )
    _say(f"figure, metrics, model and structures are in {folder}/")


def _say(text: str) -> None:
    console().print(text, highlight=False, markup=False, soft_wrap=True)
