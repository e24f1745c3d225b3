"""What matters in a layer: every combination of attention, message, norm and activation, on forces of ethanol.

    python benchmarks/ablation.py                  # the seeds 0 and 1, one after the other
    python benchmarks/ablation.py --seeds 1        # one of them; a second process may do the other

Each of the 24 networks (`small` with two layers) sees the same 200 frames of rMD17 ethanol, in the same order, for the
same number of steps, and is tested on the 1,000 test frames of the official split. What was measured stays in
`benchmarks/results/ablation_seed*.json`; a combination that is there is not trained again.
`python benchmarks/tables.py` writes the table of `benchmarks/README.md`.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks import SHARED, TASKS, reader

from pyg_equiformer.data.structure_sets import Structures
from pyg_equiformer.training import train
from pyg_equiformer.training.hardware import hardware
from pyg_equiformer.training.recipes import resolve

RESULTS = Path(__file__).parent / "results"
TASK = "rmd17:ethanol"
#: Settings of `EquiformerConfig`, and what they are set to.
FACTORS: dict[str, tuple[str, ...]] = {
    "attention": ("mlp", "dot", "distance"),
    "message": ("linear", "nonlinear"),
    "norm": ("layer", "merged"),
    "ffn_activation": ("gate", "norm"),
}


def main() -> None:
    options = _options()
    structures = TASKS[TASK].read(reader(options.shared), TASK)
    for seed in options.seeds:
        path = RESULTS / f"ablation_seed{seed}_n{options.train_size}_{options.epochs}epochs.json"
        rows: list[dict[str, Any]] = json.loads(path.read_text())["ablation"] if path.is_file() else []
        known = [row["settings"] for row in rows]
        for values in product(*FACTORS.values()):
            settings = dict(zip(FACTORS, values))
            if settings in known:
                continue
            rows.append(_row(settings, seed, options, structures))
            facts = {"data": TASK, "seed": seed, "hardware": hardware(), "ablation": rows}
            path.write_text(json.dumps(facts, indent=1) + "\n")


def _row(settings: dict[str, str], seed: int, options: argparse.Namespace, structures: Structures) -> dict[str, Any]:
    """Train one network and test it."""
    changes = {
        "model": settings, "seed": seed, "epochs": options.epochs, "train_size": options.train_size,
        "split_seed": 0, "valid_fraction": 50, "validations": 1, "threads": 1,
    }  # fmt: skip
    config = resolve(None, preset="small", settings=changes)
    start = time.process_time()
    with TemporaryDirectory() as folder:
        metrics = train(structures, config, out=Path(folder) / "run").metrics
    test = {name: metrics["test"][name]["value"] for name in ("energy_mae", "forces_mae")}
    print(f"seed {seed}: {' '.join(settings.values())}: {test}", flush=True)
    return {
        "settings": settings,
        **test,
        "steps": metrics["run"]["steps"],
        "processor_s": time.process_time() - start,  # of training and test; other work beside it does not count
        "config": config.to_dict(),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--train-size", type=int, default=200)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the benchmark data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
