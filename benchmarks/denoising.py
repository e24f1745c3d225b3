"""Denoising protein backbones: kinds of attention and other networks, each trained for the same time.

    python benchmarks/denoising.py                                   # every network, six minutes each
    python benchmarks/denoising.py mlp egnn --max-time 10m --seed 1

Chains: `protein_bm5_chains.npz`, 100 to train on and 30 with other sequences to test with, Gaussian noise of 1 Å on N,
CA and C. The time is that of the processor, one thread unless told otherwise, so that other work on the machine does
not count. Results go to `benchmarks/results/denoising_*.json`.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import mean

import torch
from denoising_networks import NETWORKS, build
from tasks import SHARED

from pyg_equiformer.cli import seconds
from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.data.protein_split import split_chains
from pyg_equiformer.training.hardware import hardware
from pyg_equiformer.training.protein_denoising import ProteinDenoisingConfig, denoise_chains, train_denoiser

RESULTS = Path(__file__).parent / "results"
TEST = 30


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    chains = read_protein_chains(options.shared / "protein_bm5_chains.npz").chains
    train, test = split_chains(chains, TEST)
    config = ProteinDenoisingConfig(max_time=seconds(options.max_time), seed=options.seed)
    for name in options.networks or NETWORKS:
        print(f"{name}: training", flush=True)
        row = _run(name, config, train, test)
        row |= {"threads": options.threads, "hardware": hardware(), "torch": torch.__version__}
        row["python"] = platform.python_version()
        path = RESULTS / f"denoising_{name}_{options.max_time}_{options.seed}.json"
        path.write_text(json.dumps(row, indent=1) + "\n")
        print(f"{name}: RMSD {row['rmsd_before']:.3f} -> {row['rmsd_after']:.3f} Å, {path.name}", flush=True)


def _run(name: str, config: ProteinDenoisingConfig, train: list, test: list) -> dict:
    torch.manual_seed(config.seed)
    network, differences = build(name, config)
    steps = []
    start = time.monotonic()
    train_denoiser(train, config, report=lambda *told: steps.append(told[:3]), network=network, clock=time.process_time)
    wall = time.monotonic() - start
    found = list(denoise_chains(network, test, config.noise, seed=0, cutoff=config.cutoff))
    return {
        "network": name,
        "differences": differences,
        "weights": sum(p.numel() for p in network.parameters()),
        "seed": config.seed,
        "max_time": config.max_time,
        "noise": config.noise,
        "wall_s": wall,
        "steps": steps[-1][1],
        "chains": {"train": len(train), "test": len(test)},
        "rmsd_before": mean(c.rmsd_before for c in found),
        "rmsd_after": mean(c.rmsd_after for c in found),
        "rmsd_of_each": [c.rmsd_after for c in found],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[*NETWORKS, []], metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument(
        "--max-time", default="6m", metavar="TIME", help="of the training of each: 3m, 1h, of all threads together"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the chains")
    return parser.parse_args()


if __name__ == "__main__":
    main()
