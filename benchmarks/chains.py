"""What a step of denoising costs as chains grow: time and memory over edges, up to thousands of residues.

    python benchmarks/chains.py                                     # ours, 125 to 4,000 residues
    python benchmarks/chains.py --networks mlp equiformer-pytorch   # and the dense network, as far as memory goes

Long chains are the chains of `protein_bm5_chains.npz` side by side, so that atoms lie as close as in proteins. Times
are of the processor, medians; memory is that of the process above what it held before the step.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from denoising_networks import NETWORKS, build
from tasks import SHARED
from torch_geometric.data import Data

from pyg_equiformer.bench.memory import available_memory, peak_memory, reset_peak
from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.training.hardware import hardware
from pyg_equiformer.training.protein_denoising import ProteinDenoisingConfig, add_noise, displacement

RESULTS = Path(__file__).parent / "results"
RESIDUES = (125, 250, 500, 1_000, 2_000, 4_000)
GAP = 3.0  # Å between the boxes of neighbouring chains


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    chains = read_protein_chains(options.shared / "protein_bm5_chains.npz").chains
    rows: list[dict[str, Any]] = []
    for name in options.networks:
        for count in options.residues:
            row = _measure(name, _long_chain(chains, count), options.repeats)
            rows.append({"network": name, "residues": count, **row})
            print(rows[-1], flush=True)
            free = available_memory(torch.device("cpu"))
            if free is not None and 4 * row["bytes"] > 0.7 * free:  # twice the atoms are four times the pairs
                print(f"{name}: the next chain might need more memory than the {free / 1e9:.0f} GB that are free")
                break
    facts = {"chain_lengths": rows, "threads": options.threads, "hardware": hardware(), "torch": torch.__version__}
    (RESULTS / "protein_chain_lengths_cpu.json").write_text(json.dumps(facts, indent=1) + "\n")


def _long_chain(chains: list[Data], residues: int) -> Data:
    """Put chains side by side along x, and cut them to a number of residues of three atoms each."""
    parts, right, number = [], 0.0, 0
    for chain in chains * (1 + residues // sum(len(c.sequence) for c in chains)):
        pos = chain.pos - chain.pos.mean(0)
        pos[:, 0] += right - pos[:, 0].min()
        right = float(pos[:, 0].max()) + GAP
        residue = chain.residue + number
        number = int(residue.max()) + 1
        parts.append(Data(pos=pos, atom_type=chain.atom_type, residue=residue, seq_pos=chain.seq_pos + 10 * number))
        if number >= residues:
            break
    keep = torch.cat([p.residue for p in parts]) < residues
    return Data(**{key: torch.cat([p[key] for p in parts])[keep] for key in ("pos", "atom_type", "seq_pos")})


def _measure(name: str, chain: Data, repeats: int) -> dict[str, Any]:
    """Time training steps on a chain, and find the memory that one takes."""
    config = ProteinDenoisingConfig()
    torch.manual_seed(0)
    network = build(name, config)[0].train()
    noisy = add_noise(chain, config.noise, config.cutoff, torch.Generator().manual_seed(0))

    def step() -> float:
        start = time.process_time()
        network.zero_grad()
        (displacement(network, noisy) - (noisy.clean - noisy.pos)).square().sum(1).mean().backward()
        return time.process_time() - start

    before = reset_peak(torch.device("cpu"))
    times = [step()]
    peak = max(0, peak_memory(torch.device("cpu")) - before)
    times += [step() for _ in range(repeats)]
    return {
        "atoms": noisy.num_nodes,
        "edges": noisy.num_edges,
        "step_s": median(times[1:]),
        "bytes": peak,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["mlp"], metavar="NETWORK")
    parser.add_argument("--residues", nargs="+", type=int, default=RESIDUES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the chains")
    return parser.parse_args()


if __name__ == "__main__":
    main()
