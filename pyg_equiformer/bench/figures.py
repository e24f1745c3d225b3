"""The figures: bars of times and memory, and one chart for each axis of the scaling."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import format_bytes, format_seconds
from .timing import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that people with colour blindness can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
MARKERS = "osD^vPX"
AXIS_TITLES = {
    "atoms": "atoms in a cloud as dense as water",
    "degree": "neighbours of each atom",
    "lmax": "largest degree of the irreps",
    "channels": "channels of the scalars",
}


def check_matplotlib() -> None:
    """Raise an ImportError that names the extra if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError('the figures need matplotlib: pip install "pyg_equiformer[bench]"') from error


def draw_figures(result: dict[str, Any], folder: str | Path, stem: str = "bench") -> list[Path]:
    """Draw a result of `run` and return the files: bars, and a chart for each axis that was followed.

    Args:
        result: from `run`.
        folder: for the PNG files, made if need be.
        stem: that their names begin with.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    check_matplotlib()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {f"{stem}_peers.png": _bars(result)}
    for axis, rows in result["scaling"].items():
        figures[f"{stem}_scaling_{axis}.png"] = _lines(axis, rows, result)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150, format="png")
    return [folder / name for name in figures]


def _panels(columns: int, width: float, height: float, title: str) -> "tuple[Figure, list[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot: no window, no global state.
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    panels: list[Any] = list(figure.subplots(1, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _where(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return machine.get("gpu") or f"{machine['processor']}, threads: {machine['threads']}"


def _bars(result: dict[str, Any]) -> "Figure":
    """Times and memory per molecule: batches of different sizes stand side by side."""
    rows, settings = result["results"], result["settings"]
    kinds = [(task, "time") for task in TASKS] + ([(task, "memory") for task in TASKS] if settings["memory"] else [])
    title = f"{settings['preset']}, {result['system']['degree']:g} neighbours; {_where(result)}"
    figure, panels = _panels(len(kinds), 3.6, 1.3 + 0.42 * len(rows), title)
    names = [f"{row['peer']}, {row['molecules']} molecules" for row in rows]
    colors = _colors([row["peer"] for row in rows])
    for axes, (task, kind) in zip(panels, kinds):
        values = [_per_molecule(row, task, kind) for row in rows]
        shown = [0.0 if value is None else value for value in values]
        axes.barh(range(len(rows)), shown, color=[colors[row["peer"]] for row in rows])
        told = format_seconds if kind == "time" else format_bytes
        for y, value in enumerate(values):
            text = "no value" if value is None else told(value)
            axes.text(shown[y], y, f" {text}", va="center", fontsize=8)
        axes.set_xlim(0, 1.3 * max(shown) or 1.0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.invert_yaxis()
        axes.set_yticks(range(len(rows)), names if axes is panels[0] else [""] * len(rows), fontsize=8)
        axes.set_title(f"{'time' if kind == 'time' else 'peak memory'} of a {task}\nper molecule", fontsize=9)
    return figure


def _per_molecule(row: dict[str, Any], task: str, kind: str) -> float | None:
    value = row[task].get("median") if kind == "time" else row[task].get("memory", {}).get("bytes")
    return None if value is None else value / row["molecules"]


def _colors(labels: list[str]) -> dict[str, str]:
    return {label: COLORS[i % len(COLORS)] for i, label in enumerate(dict.fromkeys(labels))}


def _lines(axis: str, rows: list[dict[str, Any]], result: dict[str, Any]) -> "Figure":
    """Time of each task and peak memory along an axis, both logarithmic."""
    tasks = [task for task in TASKS if any(task in entry for row in rows for entry in row["peers"].values())]
    labels = list(dict.fromkeys(label for row in rows for label in row["peers"]))
    preset = "small" if axis == "atoms" else f"{result['settings']['preset']} with two layers"
    figure, panels = _panels(len(tasks) + 1, 4.4, 4.6, f"{preset}; {_where(result)}")
    colors = _colors(labels)
    for axes, what in zip(panels, [*tasks, "peak"]):
        for label, marker in zip(labels, MARKERS * len(labels)):
            x, y = _points(rows, label, what)
            if x:
                axes.plot(x, y, color=colors[label], marker=marker, markersize=4, label=label)
        if what == "forward" and axis == "atoms":
            x, y = [row["value"] for row in rows], [row["radius_graph"] for row in rows]
            axes.plot(x, y, color="0.5", linestyle="--", label="radius_graph")
        _decorate(axes, axis, [row["value"] for row in rows])
        peak = what == "peak"
        axes.set_ylabel(f"peak memory of a {tasks[-1]} (GB)" if peak and tasks else f"time of a {what} (s)")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _points(rows: list[dict[str, Any]], label: str, what: str) -> tuple[list[float], list[float]]:
    x, y = [], []
    for row in rows:
        entry = row["peers"].get(label, {})
        value = (entry.get("peak") or 0) * 1e-9 if what == "peak" else entry.get(what, {}).get("median", 0)
        if value > 0:  # a logarithmic axis has no zero
            x.append(float(row["value"]))
            y.append(float(value))
    return x, y


def _decorate(axes: "Axes", axis: str, values: list[int]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(AXIS_TITLES[axis])
    axes.grid(color="0.92")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high < 100 * low:  # few powers of ten: numbers between them
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    if axis != "atoms":  # few values, which are named one by one
        axes.set_xticks(values, [str(v) for v in values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
