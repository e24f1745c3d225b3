"""What a denoising of proteins leaves behind: RMSDs of the test chains, structures, and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.protein_writer import write_chain
from .panels import COLORS, OTHER_COLORS, new_figure, save_figure
from .protein_denoising import DenoisedChain
from .report import write_metrics

METRICS, FIGURE, STRUCTURES = "metrics.json", "denoising.png", "structures"


def summary(results: Sequence[DenoisedChain]) -> dict[str, Any]:
    """Return the RMSD before and after for each test chain and their means over the chains, with units.

    Raises:
        ValueError: if there are no results.
    """
    if not results:
        raise ValueError("expected denoised chains, got none")
    before, after = ([getattr(r, f"rmsd_{when}") for r in results] for when in ("before", "after"))
    return {
        "rmsd_before": {"value": float(np.mean(before)), "unit": "Å"},
        "rmsd_after": {"value": float(np.mean(after)), "unit": "Å"},
        "chains": [
            {
                "name": r.chain.name,
                "residues": len(r.chain.sequence),
                "atoms": int(r.chain.num_nodes or 0),
                "rmsd_before": {"value": b, "unit": "Å"},
                "rmsd_after": {"value": a, "unit": "Å"},
            }
            for r, b, a in zip(results, before, after)
        ],
    }


def write_report(folder: Path, results: Sequence[DenoisedChain], run: Mapping[str, Any]) -> dict[str, Any]:
    """Write metrics, figure, and PDB files of the noisy and the denoised test chains, and return the metrics.

    Args:
        folder: that exists.
        results: of the test chains.
        run: what else the metrics should tell.
    """
    metrics = {**run, "test": summary(results)}
    plot_denoising(folder / FIGURE, results)
    write_metrics(folder / METRICS, metrics)
    structures = folder / STRUCTURES
    structures.mkdir()
    for result in results:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in result.chain.name)
        write_chain(structures / f"{name}-noisy.pdb", result.chain, result.noisy)
        write_chain(structures / f"{name}-denoised.pdb", result.chain, result.denoised)
    return metrics


def plot_denoising(path: str | Path, results: Sequence[DenoisedChain]) -> None:
    """Draw the RMSD of each chain before against after, and how far the atoms are from their places.

    Args:
        path: of the PNG to write.
        results: of the test chains.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    figure, (chains, atoms) = new_figure("", 2)
    told = summary(results)
    before, after = told["rmsd_before"]["value"], told["rmsd_after"]["value"]
    x, y = ([r[f"rmsd_{when}"]["value"] for r in told["chains"]] for when in ("before", "after"))
    top = 1.08 * max(*x, *y)
    chains.plot([0, top], [0, top], color="0.6", linewidth=1)
    chains.text(0.5 * top, 0.52 * top, "no change", color="0.4", rotation=45, rotation_mode="anchor", ha="center")
    size = 12 + 40 * np.sqrt([r["atoms"] / max(c["atoms"] for c in told["chains"]) for r in told["chains"]])
    chains.scatter(x, y, s=size, color=OTHER_COLORS[0], alpha=0.7, linewidths=0)
    chains.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    chains.set(xlabel="RMSD with noise (Å)", ylabel="RMSD after denoising (Å)")
    chains.set_title(f"{len(results)} test chains: {before:.2f} → {after:.2f} Å on average", fontsize=10, loc="left")

    noisy, denoised = (
        np.concatenate([r.errors(getattr(r, what)).numpy() for r in results]) for what in ("noisy", "denoised")
    )
    bins = np.linspace(0, max(np.quantile(noisy, 0.999), np.quantile(denoised, 0.999)), 61)
    for values, label, color in ((noisy, "with noise", "0.65"), (denoised, "after denoising", COLORS["energy"])):
        median = f"{label}, median {np.median(values):.2f} Å"
        atoms.hist(values.clip(max=bins[-1]), bins.tolist(), color=color, alpha=0.6, label=median)
    atoms.set(xlabel="distance of an atom from its true place (Å)", ylabel="atoms", xlim=(0, bins[-1]))
    atoms.legend(frameon=False, fontsize=9)
    atoms.set_title(f"{len(noisy)} atoms", fontsize=10, loc="left")
    save_figure(figure, path)
