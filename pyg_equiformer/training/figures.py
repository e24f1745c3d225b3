"""The two figures of a run: predictions against truth, and errors over the course of the training."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .report import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that people with colour blindness can tell apart: blue for energies, vermilion for forces.
ENERGY_COLOR, FORCES_COLOR = "#0072b2", "#d55e00"


def plot_parity(path: str | Path, predictions: Predictions, title: str = "") -> None:
    """Draw predicted against true energies and forces, with the errors in the panels.

    Energies are shown without the reference energies of the elements, relative to their mean.

    Args:
        path: of the PNG to write.
        predictions: energies in eV and forces in eV/Å of one set.
        title: written above the panels.
    """
    figure, (left, right) = _figure(title)
    offset = predictions.energy_true.mean()
    panels: list[tuple[Axes, np.ndarray, np.ndarray, str, str, str]] = [
        (left, predictions.energy_true - offset, predictions.energy - offset, "energy", "eV", ENERGY_COLOR),
        (
            right,
            predictions.forces_true.ravel(),
            predictions.forces.ravel(),
            "force component",
            "eV/Å",
            FORCES_COLOR,
        ),
    ]
    for axes, true, predicted, quantity, unit, color in panels:
        low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
        pad = 0.04 * (high - low) or 1.0
        axes.plot([low - pad, high + pad], [low - pad, high + pad], color="0.6", linewidth=1, zorder=1)
        size, alpha = (14.0, 0.6) if len(true) < 1000 else (5.0, 0.35)
        axes.scatter(true, predicted, s=size, alpha=alpha, color=color, linewidths=0, zorder=2, rasterized=True)
        axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal")
        relative = ", relative to the mean" if quantity == "energy" else ""
        axes.set_xlabel(f"true {quantity} ({unit}{relative})")
        axes.set_ylabel(f"predicted {quantity} ({unit})")
        mae, spread = 1e3 * np.abs(predicted - true).mean(), 1e3 * true.std()
        share = f"\n{100 * mae / spread:.1f} % of the spread ({spread:.0f} m{unit})" if spread > 0 else ""
        axes.text(
            0.04, 0.96, f"MAE {mae:.3g} m{unit}{share}", transform=axes.transAxes, va="top", fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "0.8", "alpha": 0.85, "boxstyle": "round,pad=0.4"},
        )  # fmt: skip
    _save(figure, path)


def plot_learning_curve(
    path: str | Path, history: Mapping[str, Sequence[tuple[float, float]]], title: str = ""
) -> None:
    """Draw the errors on the training and the validation set over the steps of the run.

    Args:
        path: of the PNG to write.
        history: by name (`train/energy_mae`, `valid/forces_mae`, …) pairs of step and error in meV or meV/Å,
            as `read_history` returns.
        title: written above the panels.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, (left, right) = _figure(title)
    for axes, quantity, unit, color in (
        (left, "energy", "meV", ENERGY_COLOR),
        (right, "forces", "meV/Å", FORCES_COLOR),
    ):
        for stage, label, style in (
            ("train", "training (weights of each step)", {"color": "0.65", "linewidth": 1.2}),
            (
                "valid",
                "validation (averaged weights)",
                {"color": color, "linewidth": 1.8, "marker": "o", "ms": 4},
            ),
        ):
            points = history.get(f"{stage}/{quantity}_mae", [])
            if points:
                steps, errors = zip(*points)
                last = f": {errors[-1]:.3g} {unit}" if stage == "valid" else ""
                axes.plot(steps, errors, label=label + last, **style)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("training steps")
        axes.set_ylabel(f"mean absolute error, {quantity} ({unit})")
        axes.grid(color="0.92")
        if axes.lines:
            axes.legend(frameon=False, fontsize=9)
    _save(figure, path)


def read_history(path: str | Path) -> dict[str, list[tuple[float, float]]]:
    """Read the CSV log of a run: for each metric the steps and values at which it was logged.

    Args:
        path: of the `metrics.csv` that Lightning's CSV logger wrote.

    Raises:
        ValueError: if the file has no column `step`.
    """
    history: dict[str, list[tuple[float, float]]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "step" not in (rows.fieldnames or []):
            raise ValueError(f"{path}: expected a CSV log with a column 'step', got columns {rows.fieldnames}")
        for row in rows:
            for name, value in row.items():
                if name not in ("step", "epoch") and value:
                    history.setdefault(name, []).append((float(row["step"]), float(value)))
    return history


def _figure(title: str) -> "tuple[Figure, Any]":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('the figures need matplotlib: pip install "pyg_equiformer[train]"') from error
    # Without pyplot: no window, no global state, safe in threads and notebooks.
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, axes


def _save(figure: "Figure", path: str | Path) -> None:
    figure.savefig(Path(path), dpi=150)
