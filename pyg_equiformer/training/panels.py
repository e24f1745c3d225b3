"""What all figures share: panels, colours, logarithmic axes of errors, and how they are written."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.structure_sets import Target
from .whole_files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that people with colour blindness can tell apart: blue for energies, vermilion for forces, then others.
COLORS = {"energy": "#0072b2", "forces": "#d55e00"}
OTHER_COLORS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def target_colors(targets: Sequence[Target]) -> list[str]:
    """Return a colour for each target, the same ones for energies and forces in all figures."""
    others = [t.name for t in targets if t.name not in COLORS]
    return [COLORS.get(t.name) or OTHER_COLORS[others.index(t.name) % len(OTHER_COLORS)] for t in targets]


def new_figure(title: str, count: int) -> "tuple[Figure, list[Axes]]":
    """Return a figure with `count` panels, two rows from four panels on.

    Raises:
        ValueError: if there is nothing to draw.
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('the figures need matplotlib: pip install "pyg_equiformer[train]"') from error
    if count < 1:
        raise ValueError("expected at least one target to draw, got none")
    columns = count if count <= 3 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    # Without pyplot: no window, no global state, safe in threads and notebooks.
    figure = Figure(figsize=(max(5.4, 5.0 * columns), 4.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Any] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for each in panels[count:]:
        each.remove()
    for each in panels[:count]:
        each.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, panels[:count]


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as part:
        figure.savefig(part, dpi=150, format="png")


def positive_points(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that a logarithmic axis can show."""
    return [(x, y) for x, y in points if math.isfinite(y) and y > 0]


def log_error_axis(axes: "Axes", target: Target) -> None:
    """A logarithmic axis of errors with plain numbers, and the legend."""
    from matplotlib.ticker import LogLocator, NullFormatter

    _, unit = target.error_unit
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # Few decades need the numbers between the powers of ten, many have no room for them.
    decades = math.log10(high / low) if high > low > 0 else 1.0
    between = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 1.5 else (1.0, 2.0, 5.0) if decades < 4 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=between))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"mean absolute error, {target.name}" + (f" ({unit})" if unit else ""))
    axes.grid(color="0.92")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
    else:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color="0.5")
