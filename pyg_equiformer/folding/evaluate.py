"""A trained `EquiFold` against structures that are known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..training.panels import COLORS, new_figure, save_figure
from .coarse_grain import residue_positions
from .equifold import EquiFold, Folded
from .frames import fit_frames
from .loss import CA, FoldLoss
from .metrics import structure_metrics
from .predict import best_of
from .structures import training_data
from .templates import residue_atoms
from .violations import KINDS, structural_violations

FAPE_CLAMP = 10.0  #: Å, as AlphaFold reports it
METRICS = ("fape", "ca_rmsd", "all_atom_rmsd", "lddt_ca", "lddt", "tm_score", "violations", "confidence")


@dataclass(frozen=True)
class Compared:
    """A protein beside its prediction.

    Args:
        name: of the protein.
        sequence: letters of all chains.
        metrics: numbers by the names of `METRICS`; lengths in Å, lDDT and TM-score from 0 to 1, violations per residue.
        pos: predicted heavy atoms [L, MAX_RESIDUE_ATOMS, 3] in Å.
        true_pos, there: true ones, and which are known.
    """

    name: str
    sequence: str
    metrics: dict[str, float]
    pos: Tensor
    true_pos: Tensor
    there: Tensor


def compare_folds(
    model: EquiFold, entries: Sequence[Sequence[Data]], *, starts: int = 1, seed: int = 0, recycles: int | None = None
) -> Iterator[Compared]:
    """Fold the sequences of known structures, and compare; starts never know the truth.

    Args:
        model: a trained model.
        entries: chains of each protein.
        starts, seed, recycles: see `fold_sequences`.

    Raises:
        ValueError: for proteins with fewer than three residues.
    """
    for entry in entries:
        data = training_data(entry, model.templates)
        folded = best_of(model, data, starts=starts, seed=seed, recycles=recycles)
        yield compare(folded, data, entry, model)


def compare(folded: Folded, data: Data, entry: Sequence[Data], model: EquiFold) -> Compared:
    """Return one folded protein, on the CPU, beside its true structure."""
    folded = folded.cpu()
    parts = [residue_atoms(chain) for chain in entry]
    true, there = (torch.cat(each) for each in zip(*parts))
    # Atoms that count in the loss, without those of side chains that were never packed.
    used = _used(data)
    pos = folded.pos.double()
    found = structure_metrics(pos, true.double(), there & used, data.sequence)
    wrong = structural_violations(pos, folded.there, data.sequence, data.seq_pos)
    counts = {kind: n / len(data.sequence) for kind, n in wrong.count().items()}
    loss = FoldLoss(clamp=FAPE_CLAMP, violation_weight=0.0)(folded, data, model.templates)
    found |= {"fape": float(loss["fape_last"]), "confidence": float(folded.confidence.mean())}
    found |= {"violations": sum(counts.values()), **{kind: counts[kind] for kind in KINDS}}
    return Compared(data.name, data.sequence, found, pos, true.double(), there & used)


def _used(data: Data) -> Tensor:
    """Which atoms of the residues are in groups that are known [L, MAX_RESIDUE_ATOMS]."""
    marks = data.pos_true.new_zeros(*data.true_mask.shape, 3)
    _, used = residue_positions(marks, data.group_type, data.residue, int(data.num_residues), data.known)
    return used


def mean_metrics(results: Sequence[Compared]) -> dict[str, float]:
    """Return the means over proteins.

    Raises:
        ValueError: if there are none.
    """
    if not results:
        raise ValueError("expected structures to compare with, got none")
    return {name: mean(result.metrics[name] for result in results) for name in METRICS}


def plot_folds(path: str | Path, results: Sequence[Compared], most: int = 6) -> None:
    """Draw the Cα of true and predicted structures on top of each other, as seen along the smallest extent.

    Args:
        path: of the PNG to write.
        results: proteins; at most `most` are drawn, spread from the best lDDT to the worst.
        most: see above.
    """
    order = sorted(results, key=lambda r: -r.metrics["lddt_ca"])
    step = max(1.0, (len(order) - 1) / max(1, most - 1))
    chosen = [order[min(len(order) - 1, round(k * step))] for k in range(min(most, len(order)))]
    figure, panels = new_figure("Cα, best to worst: true, predicted", len(chosen))
    for axes, result in zip(panels, chosen):
        known = result.there[:, CA]
        true, found = result.true_pos[known, CA], result.pos[known, CA]
        everything = torch.ones(len(true), dtype=torch.bool)
        found = fit_frames(found, true, everything).apply(found)
        _, _, axis = torch.linalg.svd(true - true.mean(0), full_matrices=False)
        for points, color, label in ((true, "0.6", "true"), (found, COLORS["energy"], "predicted")):
            flat = (points - true.mean(0)) @ axis[:2].T
            axes.plot(*flat.T.numpy(), "-", color=color, linewidth=1.6, label=label)
        told = result.metrics
        title = f"{result.name}: lDDT {told['lddt_ca']:.2f}, RMSD {told['ca_rmsd']:.1f} Å, TM {told['tm_score']:.2f}"
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
        axes.set(xlabel="Å")
    panels[0].legend(frameon=False, fontsize=9)
    save_figure(figure, path)
