"""Train on a benchmark data set, and keep what was reached as JSON with hardware, versions, wall time and seed.

    python benchmarks/accuracy.py rmd17:ethanol --max-time 20m --preset small              # two CPU cores
    python benchmarks/accuracy.py rmd17:ethanol --max-time 20m --preset small --train-size 50
    python benchmarks/accuracy.py acac                                                     # the full recipe, on a GPU
    python benchmarks/accuracy.py acac                                                     # once more: goes on

A run that was interrupted goes on when the same command is given again. `python benchmarks/tables.py` turns all
results into the table of `benchmarks/README.md`.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from tasks import SHARED, TASKS, reader

from pyg_equiformer.cli import seconds
from pyg_equiformer.training import Interrupted, TrainConfig, resume, train
from pyg_equiformer.training.hardware import hardware
from pyg_equiformer.training.recipes import merge, parse_assignments, resolve

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def main() -> None:
    options = _options()
    task = TASKS[options.task]
    settings = merge(parse_assignments([*task.settings, *options.settings]), {"compare": task.compare})
    for name in ("seed", "threads", "train_size"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    if options.max_time:
        settings["max_time"] = seconds(options.max_time)
    config = resolve(None, preset=options.preset or task.preset, settings=settings)
    structures = task.read(reader(options.shared), options.task)
    folder = options.runs / _name(options, config)
    try:
        if (folder / "last.ckpt").is_file():
            result = resume(folder, structures=structures)
        else:
            result = train(structures, config, out=folder)
    except Interrupted as stop:
        Console(stderr=True).print(str(stop), style="yellow")
        sys.exit(130)
    _keep(options, config, result.metrics)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="settings of the run")
    parser.add_argument("--preset", help="recipe; without it that of the task, which is meant for a GPU")
    parser.add_argument("--max-time", metavar="TIME", help="longest time of the training loop: 20m, 1.5h")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--train-size", type=int, help="use this many training structures only")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the benchmark data")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    return parser.parse_args()


def _name(options: argparse.Namespace, config: TrainConfig) -> str:
    """Name of the run and its result: what was asked for, nothing that was measured."""
    parts = [options.task.replace(":", "-"), options.preset or TASKS[options.task].preset, f"seed{config.seed}"]
    if config.train_size is not None:
        parts.append(f"n{config.train_size}")
    if config.max_time is not None:
        parts.append(f"{config.max_time:g}s")
    parts += [re.sub(r"[^\w.=-]", "", text) for text in options.settings]
    return "_".join(parts)


def _keep(options: argparse.Namespace, config: TrainConfig, metrics: dict[str, Any]) -> None:
    facts = {
        "task": options.task,
        "command": f"python benchmarks/accuracy.py {_typed(options)}",
        "hardware": hardware(),
        "config": config.to_dict(),
        "metrics": metrics,
    }
    where = "gpu" if metrics["run"]["device"].startswith("cuda") else "cpu"
    path = RESULTS / f"{_name(options, config)}_{where}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"→ {path.relative_to(HERE.parent)}")


def _typed(options: argparse.Namespace) -> str:
    parts = [options.task, *options.settings]
    for name in ("preset", "max_time", "seed", "threads", "train_size"):
        value = getattr(options, name)
        if value is not None:
            parts += [f"--{name.replace('_', '-')}", str(value)]
    return " ".join(parts)


if __name__ == "__main__":
    main()
