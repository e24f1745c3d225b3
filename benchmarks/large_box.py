"""Energy and forces of ever larger periodic boxes of silicon: time and peak memory, each size in a process of its own.

    python benchmarks/large_box.py --atoms 1000,10000,100000

Atoms of a diamond lattice are moved at random by 0.05 Å and computed with the preset `small`, untrained, within its
cutoff of 5 Å unless told otherwise (`--cutoff 6`: 44 neighbours in place of 28), on one thread. Neighbours are found in
the same call. The peak memory is that of the process (VmHWM), PyTorch and all; `per_atom_bytes` leaves out what was
there before the call. The table of `benchmarks/README.md` is written by `python benchmarks/tables.py`.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.bench.memory import peak_memory, reset_peak
from pyg_equiformer.training.hardware import hardware

HERE = Path(__file__).parent
LATTICE = 5.431  #: Å
CPU = torch.device("cpu")


def silicon(atoms: int) -> Data:
    """Return a box of about that many atoms, as near to a cube as it gets."""
    cells = max(1.0, atoms / 8)
    a = round(cells ** (1 / 3))
    b = round((cells / a) ** 0.5)
    shape = torch.tensor([a, b, round(cells / (a * b))])
    corner = torch.tensor([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4
    steps = torch.cartesian_prod(*(torch.arange(int(n)) for n in shape))
    pos = LATTICE * (steps.unsqueeze(1) + corner).reshape(-1, 3)
    pos = pos + 0.05 * torch.randn(pos.shape, generator=torch.Generator().manual_seed(0))
    cell = torch.diag(LATTICE * shape.float()).unsqueeze(0)
    return Data(z=torch.full((len(pos),), 14), pos=pos, cell=cell, pbc=torch.ones(1, 3, dtype=torch.bool))


def measure(atoms: int, threads: int, stress: bool, cutoff: float) -> dict[str, Any]:
    """Compute one box here, in a fresh process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = EnergyForces(Equiformer.from_preset("small", cutoff=cutoff), stress=stress).eval()
    with torch.no_grad():
        model(silicon(64))
        data, before = silicon(atoms), reset_peak(CPU)
        start, busy = time.perf_counter(), time.process_time()
        out = model(data)
        seconds, processor = time.perf_counter() - start, time.process_time() - busy
    peak, number = peak_memory(CPU), len(data.pos)
    forces = out["forces"]
    if not (bool(out["energy"].isfinite()) and bool(forces.isfinite().all())):
        raise RuntimeError(f"energy or forces of {number} atoms are not finite")
    return {
        "atoms": number,
        "edges": _edges(data, cutoff),
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_bytes": peak,
        "per_atom_bytes": (peak - before) / number,
        "net_force_per_atom": float(forces.double().sum(0).norm()) / number,
    }


def _edges(data: Data, cutoff: float) -> int:
    from pyg_equiformer import periodic_edges

    return int(periodic_edges(data.pos, cutoff, data.cell, data.pbc).edge_index.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", default="1000,10000,100000", help="numbers of atoms, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cutoff", type=float, default=5.0, help="in Å; 28 neighbours within 5, 44 within 6")
    parser.add_argument("--stress", action="store_true", help="compute the stress too")
    parser.add_argument("--here", action="store_true", help="measure one size in this process and print it")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(int(options.atoms), options.threads, options.stress, options.cutoff)))
        return
    rows = []
    for atoms in options.atoms.split(","):
        command = [sys.executable, __file__, "--here", "--atoms", atoms, "--threads", str(options.threads)]
        command += ["--cutoff", str(options.cutoff), *["--stress"] * options.stress]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(json.dumps(rows[-1]))
    facts = {
        "large_box": rows,
        "cutoff": options.cutoff,
        "stress": options.stress,
        "threads": options.threads,
        "hardware": hardware(),
    }
    path = HERE / "results" / f"large_box_{options.cutoff:g}A{'_stress' * options.stress}_cpu.json"
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"→ {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
