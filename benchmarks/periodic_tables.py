"""Tables of periodic structures: errors on silicon and molybdenum, symmetric sites, and the cost of large boxes."""

from typing import Any

#: Errors to show, and what they are called.
ERRORS = {"energy_mae_per_atom": "energy", "forces_mae": "forces", "stress_mae": "stress"}


def periodic_table(found: list[dict[str, Any]]) -> str:
    """Return the errors of each run of `periodic.py`, beside those of the mean of the training structures."""
    lines = ["| data | predictor | " + " | ".join(f"{n} MAE" for n in ERRORS.values()) + " | time | where |"]
    lines.append("|---" * (4 + len(ERRORS)) + "|")
    for element in sorted({r["periodic"] for r in found}, reverse=True):
        runs = [r for r in found if r["periodic"] == element]
        lines.append(f"| {element} | mean of the training structures | {_cells(runs[0]['trivial'])} | | |")
        for r in sorted(runs, key=lambda r: (-r["stress_weight"], r["seed"])):
            run = r["run"]
            network = "".join(f", `{s}`" for s in r["settings"] if s.startswith("model."))
            name = f"`small`{network}, stress weighed by {r['stress_weight']:g}, seed {r['seed']}"
            time = f"{run['wall_time']['value'] / 60:.0f} min, {run['steps']:,} steps"
            where = f"{r['hardware']['processor']}, {run['threads']} thread{'s' * (run['threads'] > 1)}"
            lines.append(f"| {element} | {name} | {_cells(r['test'])} | {time} | {where} |")
    return "\n".join(lines) + "\n"


def _cells(errors: dict[str, Any]) -> str:
    return " | ".join(f"{errors[name]['value']:.3g} {errors[name]['unit']}" for name in ERRORS)


def symmetric_table(found: list[dict[str, Any]]) -> str:
    """Return the frequencies and the relaxation of each potential of `symmetric.py`."""
    if not found:
        return "No results yet.\n"
    (result,) = found
    steps = " | ".join(f"{d:g} Å" for d in result["displacements_A"])
    lines = [f"| norm | {steps} | relaxation |", "|---" * (2 + len(result["displacements_A"])) + "|"]
    for r in result["symmetric"]:
        told, end = r["relaxation"], "0.01 eV/Å after {steps} steps"
        if not told["converged"]:
            end = "still {fmax_eV_per_A:.2f} eV/Å after {steps} steps"
        cells = " | ".join(f"{f:.1f} THz" for f in r["frequencies_THz"])
        lines.append(f"| `{r['norm']}` | {cells} | {end.format(**told)} |")
    return "\n".join(lines) + "\n"


def large_box_table(found: list[dict[str, Any]]) -> str:
    """Return time and memory of each box of `large_box.py`."""
    lines = [
        "| cutoff | atoms | edges | time (of the processor) | peak memory | for each atom | where |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in sorted(found, key=lambda r: (r["stress"], r["cutoff"])):
        where = f"{r['hardware']['processor']}, {r['threads']} thread{'s' * (r['threads'] > 1)}"
        what = f"{r['cutoff']:g} Å" + ", with stress" * r["stress"]
        for row in r["large_box"]:
            busy = f" ({row['processor_seconds']:.3g} s)" if "processor_seconds" in row else ""
            cells = f"{row['atoms']:,} | {row['edges']:,} | {row['seconds']:.0f} s{busy}"
            memory = f"{row['peak_bytes'] / 1e9:.2g} GB | {row['per_atom_bytes'] / 1e3:.0f} kB"
            lines.append(f"| {what} | {cells} | {memory} | {where} |")
    return "\n".join(lines) + "\n"
