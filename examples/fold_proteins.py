"""Folding a protein with EquiFold: plain PyG code that learns one structure by heart, from random starts.

    python examples/fold_proteins.py FOLDER          # of .pdb, .cif files (also .gz), or an .npz with every amino acid
    python examples/fold_proteins.py FOLDER --steps 2000

The shapes of the rigid groups are measured on all chains; the shortest chain is learnt. `pyg-equiformer fold train`
trains on all of them, with chains held out, a figure, checkpoints and all options.
"""

import argparse
from pathlib import Path

import torch

from pyg_equiformer.data import read_protein_chains
from pyg_equiformer.data.protein_writer import write_chains
from pyg_equiformer.folding import EquiFold, FoldLoss, fit_templates, structure_data
from pyg_equiformer.folding.evaluate import compare
from pyg_equiformer.folding.predict import folded_chains


def main(files: list[Path], steps: int, out: Path) -> None:
    torch.manual_seed(0)
    chains, skipped = read_protein_chains(files, "heavy")
    print(f"{len(chains)} chains;", ", ".join(f"{count} {what}" for what, count in skipped.items()))
    templates = fit_templates(chains)
    chain = min(chains, key=lambda chain: len(chain.sequence))
    data = structure_data([chain], templates)
    print(f"{chain.name}: {len(chain.sequence)} residues as {data.num_nodes} rigid groups")

    model = EquiFold.from_preset("small", templates)
    loss = FoldLoss(clamp=30.0, violation_weight=0.0)  # Å
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    for step in range(1, steps + 1):
        parts = loss(model(data), data, templates)  # every step starts from other random frames
        optimizer.zero_grad()
        parts["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step:5d}: frame-aligned error {parts['fape']:.3f}, lDDT of Cα {parts['lddt']:.3f}")

    model.eval()
    with torch.no_grad():
        folded = model(data, generator=torch.Generator().manual_seed(1))
    found = compare(folded, data, [chain], model).metrics
    print(f"from a new start: all-atom RMSD {found['all_atom_rmsd']:.2f} Å, lDDT {found['lddt']:.3f}")
    out.mkdir(exist_ok=True)
    path = out / f"{chain.name}.cif"
    write_chains(path, folded_chains(folded, data, model), b_factor=[folded.confidence])
    print(f"predicted structure, confidence in the B-factor: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="protein structures, or folders of them")
    parser.add_argument("--steps", type=int, default=500, help="steps of the training")
    parser.add_argument("--out", type=Path, default=Path("folded"), help="folder for the predicted structure")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()
    main(options.files, 50 if options.smoke else options.steps, options.out)
