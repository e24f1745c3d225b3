"""Errors with their units: `metrics.json` and the table at the end of a run."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import keys

if TYPE_CHECKING:
    from rich.table import Table
    from torch_geometric.data import Data

Metric = dict[str, float | str]


@dataclass(frozen=True)
class Predictions:
    """Predictions for one set of B structures with N atoms in all, beside the labels.

    Args:
        energy: predicted energies [B] in eV, without the reference energies of the elements.
        energy_true: labels [B] in eV, likewise.
        forces: predicted forces [N, 3] in eV/Å.
        forces_true: labels [N, 3] in eV/Å.
        num_atoms: atoms of each structure [B].
    """

    energy: np.ndarray
    energy_true: np.ndarray
    forces: np.ndarray
    forces_true: np.ndarray
    num_atoms: np.ndarray

    @classmethod
    def collect(
        cls,
        outputs: Sequence[Mapping[str, torch.Tensor]],
        structures: "Sequence[Data]",
        atomic_energies: Mapping[int, float],
    ) -> "Predictions":
        """Join the batches that `ForceFieldTask.predict_step` returned with the structures they are of.

        Reference energies are taken off on both sides: errors stay the same, and the spread of the energies
        is that of the structures, not of their compositions.
        """
        references = np.array([sum(atomic_energies[z] for z in s[keys.Z].tolist()) for s in structures])
        return cls(
            energy=torch.cat([o[keys.ENERGY] for o in outputs]).double().cpu().numpy() - references,
            energy_true=np.array([float(s[keys.ENERGY]) for s in structures]) - references,
            forces=torch.cat([o[keys.FORCES] for o in outputs]).double().cpu().numpy(),
            forces_true=torch.cat([s[keys.FORCES] for s in structures]).double().numpy(),
            num_atoms=torch.cat([o["num_atoms"] for o in outputs]).cpu().numpy(),
        )


def errors(predictions: Predictions) -> dict[str, Metric]:
    """Return the errors of a set, the spread of its labels, and the errors in % of the spread.

    Args:
        predictions: energies in eV and forces in eV/Å.

    Example:
        >>> one = np.ones((2, 3))
        >>> energy = np.array([1.0, 3.0])
        >>> table = errors(Predictions(energy, energy + 0.1, one, 2 * one, np.array([1, 1])))
        >>> round(table["energy_mae"]["value"], 6), table["energy_mae"]["unit"], table["forces_mae"]
        (100.0, 'meV', {'value': 1000.0, 'unit': 'meV/Å'})
    """
    energy = 1e3 * (predictions.energy - predictions.energy_true)
    forces = 1e3 * (predictions.forces - predictions.forces_true)
    energy_std, forces_std = 1e3 * predictions.energy_true.std(), 1e3 * predictions.forces_true.std()
    values = {
        "energy_mae": (np.abs(energy).mean(), "meV"),
        "energy_rmse": (np.sqrt((energy**2).mean()), "meV"),
        "energy_mae_per_atom": (np.abs(energy / predictions.num_atoms).mean(), "meV/atom"),
        "forces_mae": (np.abs(forces).mean(), "meV/Å"),
        "forces_rmse": (np.sqrt((forces**2).mean()), "meV/Å"),
        "energy_std": (energy_std, "meV"),
        "forces_std": (forces_std, "meV/Å"),
        # Without a spread there is nothing to compare with: left out, as JSON has no infinity.
        "energy_mae_of_std": (100 * np.abs(energy).mean() / energy_std if energy_std > 0 else math.nan, "%"),
        "forces_mae_of_std": (100 * np.abs(forces).mean() / forces_std if forces_std > 0 else math.nan, "%"),
        "structures": (len(energy), "1"),
    }
    return {name: {"value": float(v), "unit": unit} for name, (v, unit) in values.items() if np.isfinite(v)}


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, all at once: a reader never sees half a file."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def error_table(metrics: Mapping[str, Metric], title: str = "") -> "Table":
    """Return the errors of one set beside the spread of the labels, as a table for the terminal.

    Args:
        metrics: what `errors` returned.
        title: written above the table.
    """
    try:
        from rich.table import Table
    except ImportError as error:
        raise ImportError('the table of errors needs rich: pip install "pyg_equiformer[train]"') from error
    table = Table(title=title or None, title_justify="left")
    table.add_column("")
    for header in ("MAE", "RMSE", "spread (std)", "MAE / spread"):
        table.add_column(header, justify="right")
    for name, label in (("energy", "energy"), ("forces", "forces")):
        cells = [_cell(metrics.get(f"{name}_{key}")) for key in ("mae", "rmse", "std", "mae_of_std")]
        table.add_row(label, *cells)
    table.add_row("energy per atom", _cell(metrics.get("energy_mae_per_atom")), "", "", "")
    return table


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return "–"
    value = float(metric["value"])
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {metric['unit']}"
