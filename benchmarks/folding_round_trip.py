"""How exactly rigid groups of mean shape rebuild the heavy atoms of real chains.

    python benchmarks/folding_round_trip.py --shared ../shared/data

Shapes are those of the training chains of `folding.py` alone; every chain of the protein files goes to frames and back.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.folding import Frames, coarse_grain, fit_templates, group_atoms, residue_positions
from pyg_equiformer.folding.groups import GROUPS
from pyg_equiformer.folding.structures import split_entries
from pyg_equiformer.folding.templates import residue_atoms

RESULTS = Path(__file__).parent / "results"
FILES = ("protein_bm5_chains", "protein_designed_minibinders", "protein_bm5_fv")
GOAL = 0.1  #: Å


def main() -> None:
    """Measure all chains, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with protein_bm5_chains.npz")
    shared = parser.parse_args().shared
    chains = {name: read_protein_chains(shared / f"{name}.npz", "heavy").chains for name in FILES}
    split = split_entries(chains[FILES[0]] + chains[FILES[1]], 0.2, 0)
    templates = fit_templates([chain for entry in split.train for chain in entry])
    sets, by_kind = {}, [list[torch.Tensor]() for _ in GROUPS]
    for name, found in chains.items():
        atoms, groups = [], []
        for chain in found:
            data = coarse_grain(chain, templates)
            rebuilt = group_atoms(Frames(data.rotation, data.origin), data.group_type, templates)
            error = (rebuilt - data.pos_true).norm(dim=2).masked_fill(~data.true_mask, 0.0)
            rms = (error.square().sum(1) / data.true_mask.sum(1).clamp(min=1)).sqrt()
            complete = data.known & (
                data.true_mask.sum(1) == torch.tensor([len(GROUPS[k].atoms) for k in data.group_type])
            )
            for kind in data.group_type[complete].unique().tolist():
                by_kind[kind].append(rms[complete & (data.group_type == kind)])
            groups.append(rms[complete])
            pos, there = residue_positions(rebuilt, data.group_type, data.residue, len(chain.sequence), data.known)
            true, known = residue_atoms(chain)
            both = there & known
            atoms.append((pos - true)[both].norm(dim=1))
        every, each = torch.cat(atoms), torch.cat(groups)
        sets[name] = {
            "chains": len(found), "atoms": len(every), "mean": float(every.mean()), "largest": float(every.max()),
            "groups": len(each), f"groups_below_{GOAL}": float((each < GOAL).double().mean()),
        }  # fmt: skip
        print(name, sets[name])
    kinds: list[dict[str, Any]] = []
    for group, parts in zip(GROUPS, by_kind):
        if parts:
            rms = torch.cat(parts).double()
            low, middle, high = rms.quantile(torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64)).tolist()
            kinds.append({"residue": group.letter, "atoms": " ".join(group.atoms), "count": len(rms),
                          "mean": float(rms.mean()), "median": low, "95%": middle, "99%": high})  # fmt: skip
    content = {"unit": "Å", "sets": sets, "round_trip": kinds}
    (RESULTS / "folding_round_trip.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
