"""Tables and figures of the comparisons between kinds of networks: denoising, growth with chains, and the ablation."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from pyg_equiformer.training.panels import OTHER_COLORS, new_figure, save_figure

Row = dict[str, Any]


def denoising_table(found: Sequence[Row]) -> str:
    """Rows of `denoising.py`, best first: what each network makes of the noisy test chains, over the seeds."""
    lines = [
        "| network | RMSD in Å, mean and range of the seeds | below the noise | weights | steps | threads |",
        "|---|---|---|---|---|---|",
    ]
    if found:
        lines.append(f"| noisy chains | {_over(found, 'rmsd_before')} | | | | |")
    for name, runs in sorted(_grouped(found).items(), key=lambda item: mean(r["rmsd_after"] for r in item[1])):
        gain = 1 - mean(r["rmsd_after"] / r["rmsd_before"] for r in runs)
        steps, shown = round(mean(r["steps"] for r in runs)), f"**{name}**" if _ours(name) else name
        weights, threads = runs[0]["weights"], runs[0]["threads"]
        lines.append(f"| {shown} | {_over(runs, 'rmsd_after')} | {gain:.1%} | {weights:,} | {steps:,} | {threads} |")
    return "\n".join(lines) + "\n"


def draw_denoising(path: Path, found: Sequence[Row]) -> None:
    """Draw the RMSD of each test chain after denoising, a column of points for each network."""
    groups = sorted(_grouped(found).items(), key=lambda item: mean(r["rmsd_after"] for r in item[1]))
    figure, (axes,) = new_figure("The 30 test chains after denoising, a point for each", 1)
    figure.set_figwidth(7.5)
    for place, (name, runs) in enumerate(groups):
        each = np.mean([r["rmsd_of_each"] for r in runs], axis=0)
        spread = np.random.default_rng(0).uniform(-0.18, 0.18, len(each))
        axes.scatter(place + spread, each, s=16, alpha=0.6, linewidths=0, color=OTHER_COLORS[0 if _ours(name) else 1])
        axes.hlines(each.mean(), place - 0.3, place + 0.3, color="0.2", linewidth=1.8)
        axes.annotate(f"{each.mean():.3f}", (place + 0.32, each.mean()), fontsize=9, va="center")
    axes.set_xticks(range(len(groups)), [name.replace("-", "-\n") for name, _ in groups])
    axes.set(ylabel="RMSD (Å)", xlim=(-0.6, len(groups) - 0.2))
    save_figure(figure, path)


def draw_chains(path: Path, rows: Sequence[Row]) -> None:
    """Draw time and memory of a training step over the number of edges, with lines of growth in proportion."""
    figure, panels = new_figure("A training step of denoising as chains grow", 2)
    for axes, key, unit, label in zip(panels, ("step_s", "bytes"), (1.0, 1e9), ("processor time (s)", "memory (GB)")):
        for color, (name, points) in zip(OTHER_COLORS, _grouped(rows).items()):
            x, y = ([p[k] for p in points] for k in ("edges", key))
            axes.plot(x, [v / unit for v in y], "o-", color=color, label=name)
            for p in points:
                style: Row = {"textcoords": "offset points", "xytext": (8, -14), "fontsize": 8, "color": color}
                text = f"{p[key] / unit:.2g}\n{p['residues']:,} residues"
                axes.annotate(text, (p["edges"], p[key] / unit), **style)
        ours = [p for p in rows if _ours(p["network"])]
        start = ours[0]["edges"], ours[0][key] / unit
        end = ours[-1]["edges"]
        axes.plot([start[0], end], [start[1], start[1] * end / start[0]], ":", color="0.5", label="in proportion")
        axes.set(xscale="log", yscale="log", xlabel="edges", ylabel=label)
        axes.margins(x=0.3, y=0.12)
        axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def ablation_effects(found: Sequence[Row]) -> str:
    """What a setting changes: ratios to the first choice over all pairs of runs that differ in it alone."""
    runs = [(r["seed"], row) for r in found for row in r["ablation"]]
    known = {(seed, *row["settings"].values()): row for seed, row in runs}
    lines = [
        "| setting | instead of | force errors | energy errors | processor time | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for place, factor in enumerate(runs[0][1]["settings"] if runs else [], 1):
        levels = list(dict.fromkeys(row["settings"][factor] for _, row in runs))
        for level in levels[1:]:
            pairs = [
                (row, known[(*key[:place], levels[0], *key[place + 1 :])])
                for key, row in known.items()
                if key[place] == level and (*key[:place], levels[0], *key[place + 1 :]) in known
            ]
            cells = [_ratio([a[k] / b[k] for a, b in pairs]) for k in ("forces_mae", "energy_mae", "processor_s")]
            lines.append(f"| `{factor}={level}` | {levels[0]} | {' | '.join(cells)} | {len(pairs)} |")
    return "\n".join(lines) + "\n"


def ablation_table(found: Sequence[Row]) -> str:
    """All combinations, the smallest force errors first."""
    lines, groups = [], dict[tuple[str, ...], list[Row]]()
    for row in (row for r in found for row in r["ablation"]):
        groups.setdefault(tuple(row["settings"].values()), []).append(row)
    for values, rows in sorted(groups.items(), key=lambda item: mean(r["forces_mae"] for r in item[1])):
        forces, energy = (_over(rows, key, ".1f") for key in ("forces_mae", "energy_mae"))
        seconds = mean(r["processor_s"] for r in rows)
        lines.append(f"| {' | '.join(values)} | {forces} | {energy} | {seconds:.0f} s |")
    names = [name for r in found[:1] for name in r["ablation"][0]["settings"]]
    head = f"| {' | '.join(names)} | forces MAE in meV/Å | energy MAE in meV | processor time |"
    return "\n".join([head, "|---" * (len(names) + 3) + "|", *lines]) + "\n"


def _ratio(values: Sequence[float]) -> str:
    """Geometric mean of ratios, with its standard error in percent of it."""
    logs = np.log(values)
    error = logs.std(ddof=1) / len(logs) ** 0.5 if len(logs) > 1 else float("nan")
    return f"{np.exp(logs.mean()):.2f}× ± {error:.0%}"


def _over(runs: Sequence[Row], key: str, form: str = ".3f") -> str:
    values = [r[key] for r in runs]
    if len(values) < 2 or stdev(values) == 0:
        return f"{values[0]:{form}}"
    return f"{mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _grouped(found: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in found:
        groups.setdefault(row["network"], []).append(row)
    return groups


def _ours(name: str) -> bool:
    return name in ("mlp", "dot", "distance")
