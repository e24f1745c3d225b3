"""Tables and figures of folding: held-out proteins beside baselines, and growth with the length."""

import csv
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from pyg_equiformer.training.panels import COLORS, OTHER_COLORS, new_figure, save_figure

Row = dict[str, Any]
TITLES = {
    "sequences": "**EquiFold**",
    "scalars": "as many weights, no vectors",
    "shuffled": "trained on shuffled sequences",
    "untrained": "untrained",
    "helix": "an ideal helix for every chain",
}
SCORES = ("fape", "lddt")
DRAWS = 2_000  #: of the bootstrap


def scores_by_protein(found: Sequence[Row]) -> dict[str, dict[str, np.ndarray]]:
    """Return for each arm its scores [seeds, proteins], the proteins in one order."""
    names = [p["name"] for p in found[0]["proteins"]]
    arms: dict[str, list[list[Row]]] = {}
    for run in sorted(found, key=lambda r: r["seed"]):
        arms.setdefault(run["arm"], []).append(run["proteins"])
        for extra in ("untrained", "helix"):
            if extra in run:
                arms.setdefault(extra, []).append(run[extra])
    out = {}
    for arm, runs in arms.items():
        rows = [{p["name"]: p for p in run} for run in runs]
        out[arm] = {key: np.array([[row[name][key] for name in names] for row in rows]) for key in SCORES}
    return out


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95% interval of the mean over proteins, by the bootstrap, of differences that are means over seeds."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(differences), (DRAWS, len(differences)))
    low, high = np.percentile(differences[drawn].mean(1), (2.5, 97.5))
    return float(low), float(high)


def folding_table(found: Sequence[Row]) -> str:
    """Rows of `folding.py learn`: means over proteins and seeds, and what EquiFold is above or below each."""
    if not found:
        return "No results yet.\n"
    scores = scores_by_protein(found)
    lines = [
        "| model | FAPE | EquiFold's is | lDDT of Cα | EquiFold's is | seeds |",
        "|---|---|---|---|---|---|",
    ]
    ours = scores.get("sequences")
    for arm, title in TITLES.items():
        if arm not in scores:
            continue
        cells = []
        for key in SCORES:
            each = scores[arm][key].mean(1)
            cells.append(f"{each.mean():.3f} ({each.min():.3f} to {each.max():.3f})")
            if arm == "sequences" or ours is None:
                cells.append("")
                continue
            gain = ours[key].mean(0) - scores[arm][key].mean(0)
            low, high = interval(gain)
            cells.append(f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f})")
        seeds = 1 if arm == "helix" else len(scores[arm]["fape"])
        lines.append(f"| {title} | {' | '.join(cells)} | {seeds} |")
    return "\n".join(lines) + "\n"


def draw_folding(path: Path, found: Sequence[Row]) -> None:
    """Draw the course of validation, a line for each seed, and the held-out lDDT of each protein."""
    colors = dict(zip(TITLES, (COLORS["energy"], COLORS["forces"], *OTHER_COLORS)))
    figure, (left, right) = new_figure("Folding proteins that are related to none of the training", 2)
    figure.set_figwidth(12)
    for run in found:
        rows = [r for r in csv.DictReader(io.StringIO(run["course"])) if r.get("valid/fape")]
        points = [(int(r["step"]) + 1, float(r["valid/fape"])) for r in rows]
        title = TITLES[run["arm"]].strip("*") if run["seed"] == 0 else None
        left.plot(*zip(*points), "o-", color=colors[run["arm"]], markersize=3, linewidth=1.2, label=title)
    left.set(xlabel="steps", ylabel="validation FAPE of one pass, near groups count twice")
    left.legend(frameon=False, fontsize=9)
    scores = scores_by_protein(found)
    arms = [arm for arm in TITLES if arm in scores]
    for place, arm in enumerate(arms):
        values = scores[arm]["lddt"].mean(0)
        spread = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
        right.scatter(place + spread, values, s=14, alpha=0.6, linewidths=0, color=colors[arm])
        right.hlines(values.mean(), place - 0.32, place + 0.32, color="0.2", linewidth=1.8)
        right.annotate(f"{values.mean():.3f}", (place + 0.33, values.mean()), fontsize=8, va="center")
    names = [textwrap.fill(TITLES[arm].strip("*"), 14) for arm in arms]
    right.set_xticks(range(len(names)), names, fontsize=8)
    right.set(ylabel="lDDT of Cα, a point for each protein", xlim=(-0.6, len(names) - 0.2))
    right.set_ylim(bottom=0)
    save_figure(figure, path)


def cost_table(found: Sequence[Row]) -> str:
    """Rows of `folding_cost.py`."""
    lines = [
        "| residues | attention | prediction | memory | step | memory |",
        "|---|---|---|---|---|---|",
    ]
    for run in found:
        for row in sorted(run["rows"], key=lambda r: (r["residues"], r["kind"] != "sparse")):
            cells = []
            for part in ("predict", "step"):
                each = row[part]
                left_out = "left out for its memory | "
                told = f"{each['seconds']:.1f} s | {each['memory_gb']:.2f} GB" if "seconds" in each else left_out
                cells.append(told)
            lines.append(f"| {row['residues']:,} | {row['kind']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if found else "No results yet.\n"


def round_trip_table(found: Sequence[Row]) -> str:
    """Rows of `folding_round_trip.py`: the kinds of groups that are rebuilt worst."""
    if not found:
        return "No results yet.\n"
    run = found[0]
    lines = ["| chains | atoms | mean | largest | groups below 0.1 Å |", "|---|---|---|---|---|"]
    for name, row in run["sets"].items():
        lines.append(
            f"| {row['chains']} of `{name}.npz` | {row['atoms']:,} | {row['mean']:.4f} Å | {row['largest']:.2f} Å | "
            f"{row['groups_below_0.1']:.2%} |"
        )
    lines += ["", "| group | count | mean | median | 95% | 99% |", "|---|---|---|---|---|---|"]
    for row in sorted(run["round_trip"], key=lambda r: -r["99%"]):
        cells = " | ".join(f"{row[k]:.3f}" for k in ("mean", "median", "95%", "99%"))
        lines.append(f"| {row['residue']}: {row['atoms']} | {row['count']:,} | {cells} |")
    return "\n".join(lines) + "\n"


def overfit_text(found: Sequence[Row]) -> str:
    """What a model that learnt one chain makes of ten starts."""
    if not found:
        return "No results yet.\n"
    run = found[0]
    worst = max(row["all_atom_rmsd"] for row in run["starts"])
    average = mean(row["all_atom_rmsd"] for row in run["starts"])
    minutes = run["seconds"]["value"] / 60
    return (
        f"{run['residues']} residues after {run['steps']:,} steps ({minutes:.0f} minutes of one CPU core): all-atom "
        f"RMSD {average:.3f} Å from ten random starts that the training did not see, {worst:.3f} Å from the worst, "
        f"{run['mean']['violations'] * run['residues']:.1f} violations, lDDT {run['mean']['lddt']:.3f}.\n"
    )


def relaxed_table(found: Sequence[Row]) -> str:
    """Rows of `folding_relax.py`."""
    if not found:
        return "No results yet.\n"
    lines = [
        "| structures | solvent | residues | violations | chains without any | moved | mirrored | time each |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (row for run in found for row in run["relaxed"]):
        before, after = (sum(row[when].values()) for when in ("before", "after"))
        mirrored = " → ".join(str(row["mirrored"][when]) for when in ("before", "after"))
        lines.append(
            f"| {row['chains']} {row['set']} | {row['solvent']} | {row['residues']:,} | {before:,} → {after:,} | "
            f"{row['chains_without_violations']} | {row['rmsd']['value']:.2f} Å | {mirrored} | "
            f"{row['processor_time']['value'] / row['chains']:.1f} s |"
        )
    return "\n".join(lines) + "\n"
