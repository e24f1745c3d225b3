"""Time and memory of EquiFold over the length of a protein, with sparse attention and with all pairs.

    python benchmarks/folding_cost.py --lengths 50 200 500 1000

Sequences are random, one start each, float32, one thread, seconds of the processor; every measurement in a process of
its own. A step of training that would hold more than `--most` pairs is left out for all pairs, and said so.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.folding import EquiFold, fit_templates, sequence_data
from pyg_equiformer.training.hardware import hardware

RESULTS = Path(__file__).parent / "results"
KINDS: dict[str, dict[str, Any]] = {"sparse": {}, "all pairs": {"num_neighbors": None, "cutoff": 1e4}}


def one(kind: str, length: int, preset: str, shared: Path, repeats: int, most: float) -> dict[str, Any]:
    """Measure one model at one length."""
    import resource

    torch.set_num_threads(1)
    templates = fit_templates(read_protein_chains(shared / "protein_bm5_chains.npz", "heavy").chains)
    torch.manual_seed(0)
    model = EquiFold.from_preset(preset, templates, **KINDS[kind])
    letters = "".join("ARNDCQEGHILKMFPSTWYV"[k] for k in torch.randint(0, 20, (length,)).tolist())
    data = sequence_data(letters)
    start = model.start(data.num_nodes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def predict() -> None:
        with torch.no_grad():
            model(data, start)

    def step() -> None:
        folded = model(data, start)
        sum(f.origin.square().mean() + f.rotation.sum() for f in folded.trajectory).backward()
        model.zero_grad()

    out: dict[str, Any] = {"kind": kind, "residues": length, "groups": data.num_nodes}
    for name, work in (("predict", predict), ("step", step)):
        if name == "step" and kind == "all pairs" and data.num_nodes**2 > most:
            out[name] = {"left_out": "its memory"}
            continue
        times = []
        for _ in range(repeats):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out[name] = {"seconds": median(times), "memory_gb": (peak - before) / 2**20}
    return out


def main() -> None:
    """Measure all, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[50, 200, 500, 1000])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--shared", type=Path, required=True, help="folder with protein_bm5_chains.npz")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--most", type=float, default=6e5, help="pairs of groups up to which a step is measured")
    parser.add_argument("--one", choices=tuple(KINDS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.lengths[0], args.preset, args.shared, args.repeats, args.most)))
        return
    rows: list[dict[str, Any]] = []
    for length in args.lengths:
        for kind in KINDS:
            words = ["--one", kind, "--lengths", length, "--preset", args.preset, "--shared", args.shared]
            words += ["--repeats", args.repeats if length < 500 else 1, "--most", args.most]
            done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    content = {"preset": args.preset, "rows": rows, "hardware": hardware()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "folding_cost.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
