"""The figure of a molecular dynamics run."""

import csv
from importlib.util import find_spec
from pathlib import Path

from ..training.whole_files import whole_file


def read_log(path: str | Path) -> dict[str, list[float]]:
    """Return the columns of a log by name; a last line that was cut short is left out."""
    with Path(path).open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = list(csv.DictReader(lines))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def check_matplotlib() -> None:
    """Raise an ImportError unless figures can be drawn; asked before a run, not at its end."""
    if find_spec("matplotlib") is None:
        raise ImportError('figures need matplotlib: pip install "pyg_equiformer[train]"')


def plot_log(log: str | Path, out: str | Path) -> None:
    """Draw energies and temperature over time, and what the ensemble conserves where there is such a thing.

    Args:
        log: `log.csv` of a run.
        out: the figure, .png.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    columns = read_log(log)
    time, start = columns["time_ps"], columns["total_eV"][0]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    energy, heat = figure.subplots(2, 1, sharex=True)
    potential = columns["potential_eV"][0]
    energy.plot(time, [e - potential for e in columns["potential_eV"]], label="potential, from its start")
    energy.plot(time, columns["kinetic_eV"], label="kinetic")
    energy.plot(time, [e - start + columns["kinetic_eV"][0] for e in columns["total_eV"]], label="total, likewise")
    if "conserved_eV" in columns:
        first = columns["conserved_eV"][0] - columns["kinetic_eV"][0]
        energy.plot(time, [e - first for e in columns["conserved_eV"]], "--", label="conserved, likewise")
    energy.set_ylabel("energy (eV)")
    energy.legend(fontsize="small")
    heat.plot(time, columns["temperature_K"], color="tab:red")
    heat.set_ylabel("temperature (K)")
    heat.set_xlabel("time (ps)")
    with whole_file(out) as part:
        figure.savefig(part, dpi=120, format="png")
