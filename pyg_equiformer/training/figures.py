"""The figures of a run: predictions against truth, and errors over the course of the training."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.structure_sets import ENERGY, FORCES, Target
from .panels import log_error_axis, new_figure, positive_points, save_figure, target_colors
from .predictions import Predictions
from .report import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More points than this are drawn as a density, fewer than `FEW` with error bars for the spread of a committee.
MANY, FEW = 50_000, 300


def plot_parity(path: str | Path, predictions: Predictions, title: str = "") -> None:
    """Draw predicted against true values, a panel per target, with the errors in the panels.

    Energies are shown without the reference energies of the elements, relative to their mean. The spread of a
    committee is shown as error bars or, where there are many points, as colour.

    Args:
        path: of the PNG to write.
        predictions: of one set; targets without labels are left out.
        title: written above the panels.

    Raises:
        ValueError: if there are no labels to compare with.
    """
    targets = predictions.labelled
    if not targets:
        raise ValueError(f"expected labels to compare with, got none of {[t.name for t in predictions.targets]}")
    figure, panels = new_figure(title, len(targets))
    for axes, target, color in zip(panels, targets, target_colors(targets)):
        predicted, true = predictions.compared(target)
        spread = predictions.spread.get(target.name)
        shown = np.isfinite(true) & np.isfinite(predicted)
        true, predicted = true[shown], predicted[shown]
        relative = target.name == "energy" and true.size > 0
        offset = true.mean() if relative else 0.0
        if true.size:
            _panel(axes, true - offset, predicted - offset, None if spread is None else spread[shown], target, color)
        else:
            axes.text(0.5, 0.5, "no labels", transform=axes.transAxes, ha="center", color="0.5")
        quantity = target.name
        if not target.kind.endswith("scalar"):
            quantity = f"{'force' if quantity == 'forces' else quantity} component"
        unit = ", ".join(part for part in (target.unit, "relative to the mean" if relative else "") if part)
        for set_label, what in ((axes.set_xlabel, "true"), (axes.set_ylabel, "predicted")):
            set_label(f"{what} {quantity}" + (f" ({unit})" if unit else ""))
    save_figure(figure, path)


def _panel(
    axes: "Axes", true: np.ndarray, predicted: np.ndarray, spread: np.ndarray | None, target: Target, color: str
) -> None:
    bars = spread if spread is not None and len(true) <= FEW else 0.0
    low, high = min(true.min(), (predicted - bars).min()), max(true.max(), (predicted + bars).max())
    pad = 0.04 * (high - low) or 1.0
    low, high = low - pad, high + pad
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, zorder=1)
    factor, error_unit = target.error_unit
    _points(axes, true, predicted, None if spread is None else factor * spread, factor, error_unit, color)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.locator_params(nbins=6)
    mae, std = factor * np.abs(predicted - true).mean(), factor * true.std()
    mae_text, std_text = (f"{format_number(value)} {error_unit}".strip() for value in (mae, std))
    share = f", {100 * mae / std:.1f} % of the labels' spread ({std_text})" if std > 0 else ""
    # Above the panel, where it hides no point.
    axes.text(0.0, 1.02, f"MAE {mae_text}{share}", transform=axes.transAxes, va="bottom", fontsize=9)


def _points(
    axes: "Axes",
    true: np.ndarray,
    predicted: np.ndarray,
    spread: np.ndarray | None,
    factor: float,
    error_unit: str,
    color: str,
) -> None:
    """Points, coloured by the spread of a committee where they are many, or their density where too many to tell."""
    if len(true) > MANY:
        options: dict[str, Any] = {"norm": "log"} if spread is None else {"C": spread, "reduce_C_function": np.mean}
        drawn: Any = axes.hexbin(true, predicted, gridsize=150, mincnt=1, linewidths=0.1, zorder=2, **options)
    elif spread is not None and len(true) > FEW:
        # The largest spreads would leave one colour for all others.
        top = float(np.quantile(spread, 0.98)) or 1.0
        drawn = axes.scatter(true, predicted, s=6, c=spread, vmin=0, vmax=top, linewidths=0, zorder=2, rasterized=True)
    else:
        size, alpha = (14.0, 0.6) if len(true) < 1000 else (5.0, 0.35)
        if spread is not None:
            axes.errorbar(true, predicted, yerr=spread / factor, fmt="none", ecolor=color, alpha=0.5, linewidth=1)
        axes.scatter(true, predicted, s=size, alpha=alpha, color=color, linewidths=0, zorder=2, rasterized=True)
        return
    label = "points" if spread is None else f"committee spread ({error_unit})"
    axes.figure.colorbar(drawn, ax=axes, label=label, shrink=0.7)


def plot_learning_curve(
    path: str | Path,
    history: Mapping[str, Sequence[tuple[float, float]]],
    title: str = "",
    targets: Sequence[Target] = (ENERGY, FORCES),
) -> None:
    """Draw the errors on the training and the validation set over the steps of the run.

    Args:
        path: of the PNG to write.
        history: by name (`train/energy_mae`, `valid/forces_mae`, …) pairs of step and error in the unit of the
            target's error, as `read_history` returns.
        title: written above the panels.
        targets: a panel for each.

    Raises:
        ValueError: if there is no target.
    """
    from matplotlib.ticker import MaxNLocator

    figure, panels = new_figure(title, len(targets))
    for axes, target, color in zip(panels, targets, target_colors(targets)):
        unit = target.error_unit[1]
        styles: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("train", "training (weights of each step)", {"color": "0.65", "linewidth": 1.2}),
            ("valid", "validation (averaged weights)", {"color": color, "linewidth": 1.8, "marker": "o", "ms": 4}),
        )
        for stage, label, style in styles:
            points = positive_points(history.get(f"{stage}/{target.name}_mae", []))
            if points:
                steps, errors = zip(*points)
                last = f": {format_number(errors[-1])} {unit}" if stage == "valid" else ""
                # A line through one point cannot be seen.
                dot = {"marker": "o", "ms": 4} if len(points) == 1 else {}
                axes.plot(steps, errors, label=label + last, **{**style, **dot})
        log_error_axis(axes, target)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("training steps")
    save_figure(figure, path)


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
