"""How many violations relaxing mends, and how far it moves atoms.

    python benchmarks/folding_relax.py --shared ../shared/data

Three kinds of structures: designed proteins whose side chains were never packed; crystal chains whose rigid groups were
moved apart, as an unfinished model leaves them; and the same crystal chains as they are.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.folding import Frames, all_atoms, coarse_grain, fit_templates, quaternion_to_matrix, relax
from pyg_equiformer.folding.relaxed import mirrored_residues
from pyg_equiformer.folding.templates import Templates, residue_atoms
from pyg_equiformer.training.hardware import hardware

RESULTS = Path(__file__).parent / "results"
NOISES = (0.3, 0.6, 1.2)  #: Å, of the origins of groups; rotations have a tenth of a radian for each 0.3 Å


def moved_apart(chain: Data, templates: Templates, noise: float, seed: int) -> Data:
    """Return a chain whose groups were moved each by itself."""
    data = coarse_grain(chain, templates)
    generator = torch.Generator().manual_seed(seed)
    quaternion = torch.randn(len(data.group_type), 4, generator=generator) * noise / 6  # half the angle
    quaternion[:, 0] = 1.0
    rotation = data.rotation @ quaternion_to_matrix(quaternion)
    origin = data.origin + noise * torch.randn(len(data.group_type), 3, generator=generator)
    out = all_atoms(Frames(rotation, origin), chain.sequence, templates)
    out.name = chain.name
    return out


def sets(shared: Path, designs: int, count: int) -> Iterator[tuple[str, Sequence[Data]]]:
    """Yield names of sets and their structures."""
    yield "designed", read_protein_chains(shared / "protein_designed_minibinders.npz", "heavy").chains[:designs]
    chains = read_protein_chains(shared / "protein_bm5_chains.npz", "heavy").chains
    templates = fit_templates(chains)
    whole = [c for c in chains if "X" not in c.sequence and len(c.pos) == len(moved_apart(c, templates, 0.0, 0).pos)]
    # Without gaps, so that the same residues are bonded in all sets.
    whole = [c for c in whole if int(c.seq_pos.max()) + 1 == len(c.sequence)]
    short = sorted(whole, key=lambda chain: len(chain.sequence))[:count]
    yield "crystal", short
    for noise in NOISES:
        yield f"moved apart by {noise} Å", [moved_apart(c, templates, noise, k) for k, c in enumerate(short)]


def relaxed(chains: Sequence[Data], solvent: Any) -> dict[str, Any]:
    """Relax structures, and return what became of all of them."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    squares, furthest, clean, rounds, spent, mirrored = 0.0, 0.0, 0, 0, 0.0, [0, 0]
    for chain in chains:
        start = time.process_time()
        found = relax([chain], solvent=solvent, threads=1)
        spent += time.process_time() - start
        before.update(found.before.count())
        after.update(found.after.count())
        squares += found.rmsd**2 * len(chain.pos)
        furthest, rounds = max(furthest, found.furthest), rounds + found.rounds
        clean += not sum(found.after.count().values())
        mirrored[0] += len(mirrored_residues(*residue_atoms(chain)))
        mirrored[1] += len(found.mirrored)
    atoms = sum(len(chain.pos) for chain in chains)
    return {
        "chains": len(chains), "residues": sum(len(chain.sequence) for chain in chains), "atoms": atoms,
        "solvent": solvent, "before": dict(before), "after": dict(after), "chains_without_violations": clean,
        "rmsd": {"value": (squares / atoms) ** 0.5, "unit": "Å"}, "furthest": {"value": furthest, "unit": "Å"},
        "mean_rounds": rounds / len(chains), "mirrored": dict(zip(("before", "after"), mirrored)),
        "processor_time": {"value": spent, "unit": "s, one thread"},
    }  # fmt: skip


def main() -> None:
    """Relax all sets, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with protein_bm5_chains.npz")
    parser.add_argument("--solvent", default="none", choices=("obc", "none"))
    parser.add_argument("--designs", type=int, default=10, help="designed proteins, the first ones")
    parser.add_argument("--count", type=int, default=6, help="crystal chains, the shortest ones")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, chains in sets(args.shared, args.designs, args.count):
        rows.append({"set": name, **relaxed(chains, args.solvent)})
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    content = {"relaxed": rows, "hardware": hardware()}
    path = RESULTS / f"folding_relax_{args.solvent}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
