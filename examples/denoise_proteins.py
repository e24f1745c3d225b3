"""Denoising proteins, the classic first task for equivariant networks: plain PyG code, on structures of your own.

    python examples/denoise_proteins.py FOLDER     # of .pdb, .ent, .cif files (also .gz); 300 steps
    python examples/denoise_proteins.py a.pdb b.cif --steps 1000

N, CA and C of each chain are moved by Gaussian noise of 1 Å, and the network predicts the way back. `pyg-equiformer
denoise` does the same with all options, a report and a figure.
"""

import argparse
from pathlib import Path

import torch

from pyg_equiformer import Equiformer
from pyg_equiformer.data import read_protein_chains
from pyg_equiformer.data.protein_edges import NUM_SEPARATIONS, ProteinGraph
from pyg_equiformer.data.protein_split import split_chains
from pyg_equiformer.data.protein_writer import write_chain

NOISE, CUTOFF, IRREPS = 1.0, 6.0, "32x0e+32x1e"  # Å, Å, features between the blocks
graph = ProteinGraph(CUTOFF)


def add_noise(chain):
    chain = chain.clone()
    chain.clean, chain.pos = chain.pos, chain.pos + NOISE * torch.randn_like(chain.pos)
    return graph(chain)  # neighbours of the noisy atoms


def denoised(model, data):
    # N, CA and C are the "elements" 0, 1 and 2; edges tell how far apart two residues are in the sequence.
    settings = {"edge_index": data.edge_index, "edge_attr": data.edge_attr}
    return data.pos + model(data.atom_type, data.pos, **settings)


def rmsd(pos, clean):
    return float((pos - clean).square().sum(dim=1).mean().sqrt())


def main(files: list[Path], steps: int, out: Path) -> None:
    torch.manual_seed(0)
    chains, skipped = read_protein_chains(files)
    print(f"{len(chains)} chains;", ", ".join(f"{count} {what}" for what, count in skipped.items()))
    train, test = split_chains(chains, test=0.2)
    model = Equiformer.from_preset(
        "small",
        irreps=IRREPS,
        irreps_feature=IRREPS,
        irreps_head="8x0e+8x1e",
        irreps_ffn="64x0e+64x1e",
        irreps_sh="1x0e+1x1e",
        cutoff=CUTOFF,
        elements=(0, 1, 2),
        edge_dim=NUM_SEPARATIONS,
        output="node_vector",
        envelope="none",  # noisy neighbours near the cutoff tell as much as others
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    drawn = torch.utils.data.RandomSampler(train, replacement=True, num_samples=steps)
    for step, i in enumerate(drawn, 1):
        data = add_noise(train[i])
        loss = (denoised(model, data) - data.clean).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step:5d}: training RMSD {float(loss.detach()) ** 0.5:.2f} Å")

    model.eval()
    out.mkdir(exist_ok=True)
    before, after = [], []
    for chain in test:
        data = add_noise(chain)
        with torch.no_grad():
            pos = denoised(model, data)
        before.append(rmsd(data.pos, data.clean))
        after.append(rmsd(pos, data.clean))
        write_chain(out / f"{chain.name}.pdb", chain, pos)
    print(f"{len(test)} test chains: RMSD {sum(before) / len(test):.2f} → {sum(after) / len(test):.2f} Å on average")
    print(f"denoised chains are in {out}/")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="protein structures, or folders of them")
    parser.add_argument("--steps", type=int, default=300, help="chains to train on, one per step")
    parser.add_argument("--out", type=Path, default=Path("denoised"), help="folder for the denoised test chains")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()
    main(options.files, 4 if options.smoke else options.steps, options.out)
