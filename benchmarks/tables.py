"""Write the tables of `benchmarks/README.md` and draw its figures from the results: `python benchmarks/tables.py`."""

import json
import re
from pathlib import Path
from typing import Any

from folding_tables import cost_table, draw_folding, folding_table, overfit_text, relaxed_table, round_trip_table
from network_tables import ablation_effects, ablation_table, denoising_table, draw_chains, draw_denoising
from periodic_tables import large_box_table, periodic_table, symmetric_table
from simulation_tables import drift_table, exported_table
from tasks import TASKS

from pyg_equiformer.training.published import published
from pyg_equiformer.training.report import format_metric
from pyg_equiformer.training.size_curve import plot_size_curve

HERE = Path(__file__).parent
GPU_TASKS = ("rmd17:ethanol", "rmd17:aspirin", "acac", "3bpa", "qm9:gap", "qm9:g4mp2")
#: Metrics to show for each kind of task.
COLUMNS = ("energy_mae", "forces_mae", "energy_rmse", "forces_rmse", "stress_mae", "gap_mae", "g4mp2_mae")


def main() -> None:
    results = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((HERE / "results").glob("*.json"))]
    speeds = [r for r in results if isinstance(r.get("results"), list) and "preset" in r.get("settings", {})]
    speeds = [r for r in speeds if any("memory" in row["step"] for row in r["results"])]  # others are about scaling
    ablation = [r for r in results if "ablation" in r and {row["steps"] for row in r["ablation"]} == {400}]
    denoising = [r for r in results if "rmsd_of_each" in r and r["max_time"] == 360]
    chains = [row for r in results for row in r.get("chain_lengths", [])]
    results_of_all = results
    folding = [r for r in results if "arm" in r]
    overfit, cost = [r for r in results if "starts" in r and "arm" not in r], [r for r in results if "rows" in r]
    results = [r for r in results if "task" in r]
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, table in (
        ("gpu", _table([r for r in results if _on_gpu(r)], GPU_TASKS)),
        ("cpu", _table([r for r in results if not _on_gpu(r)])),
        ("speed", _speed(speeds)),
        ("ablation effects", ablation_effects(ablation)),
        ("ablation", ablation_table(ablation)),
        ("denoising", denoising_table(denoising)),
        ("folding", folding_table(folding)),
        ("folding round trip", round_trip_table([r for r in results_of_all if "round_trip" in r])),
        ("folding overfit", overfit_text(overfit)),
        ("folding cost", cost_table(cost)),
        ("folding relaxed", relaxed_table([r for r in results_of_all if isinstance(r.get("relaxed"), list)])),
        ("periodic", periodic_table([r for r in results_of_all if "periodic" in r])),
        ("symmetric", symmetric_table([r for r in results_of_all if "symmetric" in r])),
        ("nve drift", drift_table([r for r in results_of_all if "runs" in r and "fluctuation_meV_per_atom" in str(r)])),
        ("exported", exported_table([r for r in results_of_all if r.get("benchmark") == "exported"])),
        ("large boxes", large_box_table([r for r in results_of_all if "large_box" in r])),
    ):
        text = re.sub(
            f"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL
        )
    readme.write_text(text, encoding="utf-8")
    _draw(results)
    if denoising:
        draw_denoising(HERE / "figures" / "denoising_cpu.png", denoising)
    if folding:
        draw_folding(HERE / "figures" / "folding_cpu.png", folding)
    if chains:
        draw_chains(HERE / "figures" / "protein_chain_lengths_cpu.png", chains)


def _speed(found: list[dict[str, Any]]) -> str:
    """Rows of the runs of `pyg-equiformer bench`: times and peak memory, beside ours on as many molecules."""
    lines = [
        "| network | who | batch | forward | training step | memory of a step | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in sorted(found, key=lambda r: (r["machine"]["device"], r["settings"]["preset"])):
        m = run["machine"]
        where = m.get("gpu") or f"{m['processor']}, {m['threads']} threads"
        for row in run["results"]:
            if "error" in row["forward"] or "error" in row["step"]:
                continue
            base = next(r for r in run["results"] if r["molecules"] == row["molecules"])
            cells = []
            for task in ("forward", "step"):
                ratio = row[task]["median"] / base[task]["median"]
                cells.append(f"{row[task]['median']:.3g} s" + ("" if row is base else f" ({ratio:.1f}×)"))
            memory, ours = (r["step"].get("memory", {}).get("bytes") for r in (row, base))
            cells.append(
                "–" if not memory else f"{memory / 1e9:.2g} GB" + ("" if row is base else f" ({memory / ours:.1f}×)")
            )
            name = f"**{row['peer']}**" if row["name"] == "pyg_equiformer" else row["peer"]
            lines.append(
                f"| {run['settings']['preset']} | {name} | {row['molecules']} | {' | '.join(cells)} | {where} |"
            )
    return "\n".join(lines) + "\n"


def _on_gpu(result: dict[str, Any]) -> bool:
    return str(result["metrics"]["run"]["device"]).startswith("cuda")


def _table(found: list[dict[str, Any]], always: tuple[str, ...] = ()) -> str:
    """Rows of our results, each task followed by what others have published; `always` are shown unmeasured, too."""
    lines = ["| data | model | trained on | errors on the test set | time | where |", "|---|---|---|---|---|---|"]
    for task in TASKS:
        own = [r for r in found if r["task"] == task]
        if not own and task not in always:
            continue
        for r in sorted(own, key=lambda r: (r["metrics"]["run"]["training_structures"], r["config"]["seed"])):
            lines.append(_own(task, r))
        if not own:
            lines.append(f"| {task} | **pyg_equiformer**, recipe `{TASKS[task].preset}` | – | not measured | – | – |")
        for other in published(TASKS[task].compare or ""):
            told = ", ".join(f"{_word(k)} {v:g} {unit}" for k, (v, unit) in other.values.items())
            lines.append(f"| {task} | {other.model} | {other.protocol} | {told} | | {other.source} |")
    return "\n".join(lines) + "\n"


def _own(task: str, result: dict[str, Any]) -> str:
    metrics, run, config = result["metrics"], result["metrics"]["run"], result["config"]
    test = metrics["test"]
    shown = ", ".join(f"{_word(key)} {format_metric(test[key])}" for key in COLUMNS if key in test)
    where = f"{run['hardware']['processor']}, {run['threads']} thread{'s' * (run['threads'] > 1)}"
    if run["device"].startswith("cuda"):
        where = " and ".join(run["hardware"].get("gpus", ["GPU"]))
    changed = "".join(f", `model.{name}={value}`" for name, value in config["model"].items())
    name = f"**pyg_equiformer**, `{config['network']}`{changed}, seed {config['seed']}"
    time = f"{run['wall_time']['value'] / 60:.0f} min, {run['steps']:,} steps"
    return f"| {task} | {name} | {run['training_structures']} | {shown} | {time} | {where} |"


def _word(key: str) -> str:
    name, _, kind = key.rpartition("_")
    return f"{name} {kind.upper()}"


def _draw(results: list[dict[str, Any]]) -> None:
    """Errors on ethanol against the number of training structures, all trained for the same time."""
    runs = [r for r in results if r["task"] == "rmd17:ethanol" and not _on_gpu(r) and r["config"]["max_time"] == 1200]
    if not runs:
        return
    points = {
        name: [(r["metrics"]["run"]["training_structures"], r["metrics"]["test"][f"{name}_mae"]["value"]) for r in runs]
        for name in ("energy", "forces")
    }
    title = "rMD17 ethanol: 20 minutes of training, one CPU thread"
    (HERE / "figures").mkdir(exist_ok=True)
    plot_size_curve(HERE / "figures" / "ethanol_size_curve.png", points, title)


if __name__ == "__main__":
    main()
