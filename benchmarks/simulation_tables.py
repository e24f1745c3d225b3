"""Tables of models at work: drift of the energy in dynamics, and times of exported files."""

from typing import Any


def drift_table(found: list[dict[str, Any]]) -> str:
    """Return the slope of each trajectory of `nve_drift.py`."""
    if not found:
        return "No results yet.\n"
    lines = [
        "| structure | seed | slope of the energy | fluctuation | mean temperature |",
        "|---|---|---|---|---|",
    ]
    for result in found:
        s = result["settings"]
        what = f"{result['structure']}, {s['time']:g} ps at {s['timestep']:g} fs, {s['dtype']}"
        for run in result["runs"]:
            slope = f"{run['slope']:.2f} ± {run['standard_error']:.2f} {result['unit']}"
            noise = f"{run['fluctuation_meV_per_atom']:.3f} meV/atom"
            lines.append(f"| {what} | {run['seed']} | {slope} | {noise} | {run['mean_temperature_K']:.0f} K |")
    return "\n".join(lines) + "\n"


def exported_table(found: list[dict[str, Any]]) -> str:
    """Return the times of each size of `exported.py`."""
    if not found:
        return "No results yet.\n"
    lines = [
        "| network | atoms | edges | eager | compiled | exported | largest difference of forces | where |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in found:
        m = result["machine"]
        where = m.get("gpu") or f"{m['processor']}, {m['threads']} thread{'s' * (m['threads'] > 1)}"
        for preset, each in result["presets"].items():
            for size in each["sizes"]:
                medians = {name: t["median"] for name, t in size["seconds"].items()}
                told = {
                    name: f"{1e3 * t:.1f} ms" + f" ({medians['eager'] / t:.1f}×)" * (name != "eager")
                    for name, t in medians.items()
                }
                cells = " | ".join(told.get(name, "–") for name in ("eager", "compiled", "exported"))
                system = f"{size['system']['atoms']} | {size['system']['edges']:,}"
                lines.append(f"| {preset} | {system} | {cells} | {size['force_difference']:.0e} | {where} |")
    return "\n".join(lines) + "\n"
