"""The course of a training as a figure."""

import csv
from pathlib import Path

from ..training.loggers import LOG
from ..training.panels import COLORS, new_figure, save_figure

_PANELS = (("fape", "frame-aligned error (scale 10 Å)"), ("lddt", "lDDT of Cα"))


def read_course(folder: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Return what a run logged, by name: steps and values."""
    found: dict[str, list[tuple[int, float]]] = {}
    with open(Path(folder) / LOG, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key, value in row.items():
                if value and key not in ("step", "epoch"):
                    found.setdefault(key, []).append((int(row["step"]) + 1, float(value)))
    return found


def plot_course(folder: str | Path) -> None:
    """Draw errors of training and validation over the steps into `learning_curve.png` of a run's folder."""
    course = read_course(folder)
    figure, panels = new_figure("", len(_PANELS))
    for axes, (part, label) in zip(panels, _PANELS):
        for stage, color in (("train", COLORS["energy"]), ("valid", COLORS["forces"])):
            points = course.get(f"{stage}/{part}", [])
            title = {"train": "training, mean since the mark before", "valid": "validation"}[stage]
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=color, label=title, markersize=4)
        axes.set(xlabel="steps", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=9)
    save_figure(figure, Path(folder) / "learning_curve.png")
