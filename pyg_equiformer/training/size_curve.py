"""The figure of errors over the size of the training set."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.structure_sets import ENERGY, FORCES, Target
from .panels import log_error_axis, new_figure, positive_points, save_figure, target_colors
from .report import format_number

#: By target: (label, training structures, error) of results to compare with.
Marks = Mapping[str, Sequence[tuple[str, float, float]]]


def plot_size_curve(
    path: str | Path,
    points: Mapping[str, Sequence[tuple[float, float]]],
    title: str = "",
    targets: Sequence[Target] = (ENERGY, FORCES),
    *,
    marks: Marks | None = None,
) -> None:
    r"""Draw the error against the number of training structures, with the power law that fits it best.

    .. math:: \mathrm{error} \propto n^{-k}

    Args:
        path: of the PNG to write.
        points: by name of the target, pairs of training structures and error in the unit of the target's error;
            several errors of one size, such as those of several seeds, are joined by their mean.
        title: written above the panels.
        targets: a panel for each.
        marks: other results to show beside them, by name of the target: (label, training structures, error).

    Raises:
        ValueError: if there is no target.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    figure, panels = new_figure(title, len(targets))
    for axes, target, color in zip(panels, targets, target_colors(targets)):
        found = positive_points(points.get(target.name, []))
        others = (marks or {}).get(target.name, [])
        sizes = sorted({n for n, _ in found})
        if found:
            means = [float(np.mean([e for n, e in found if n == size])) for size in sizes]
            axes.plot(sizes, means, color=color, linewidth=1.8, label=_power_law(sizes, means))
            axes.scatter([n for n, _ in found], [e for _, e in found], color=color, s=30, zorder=3)
            for size, mean in zip(sizes, means):
                style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9, "color": color}
                axes.annotate(format_number(mean), (size, mean), xytext=(6, 6), **style)
        for (label, size, error), marker in zip(others, "DsvP^X*" * len(others)):
            text = f"{label}: {error:g}"  # as it was published
            axes.scatter(
                [size], [error], marker=marker, s=42, facecolors="none", edgecolors="0.25", label=text, zorder=4
            )
        axes.set_xscale("log")
        ticks = sorted({*sizes, *(size for _, size, _ in others)})
        axes.xaxis.set_major_locator(FixedLocator(_apart(ticks)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.12, y=0.15)
        log_error_axis(axes, target)
        axes.set_xlabel("training structures")
    save_figure(figure, path)


def _power_law(sizes: Sequence[float], errors: Sequence[float]) -> str:
    if len(sizes) < 2:
        return "this model"
    exponent = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    return f"this model: error ∝ n$^{{{exponent:.2f}}}$"


def _apart(ticks: Sequence[float]) -> list[float]:
    """Ticks of a logarithmic axis without those whose labels would overlap."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or math.log(tick / kept[-1]) > 0.08 * math.log(ticks[-1] / ticks[0]):
            kept.append(tick)
    return kept
