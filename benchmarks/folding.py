"""Does EquiFold learn? Held-out proteins after the same steps of training, beside baselines; and one chain by heart.

    python benchmarks/folding.py learn --shared ../shared/data --epochs 16 --seed 0 --arm sequences
    python benchmarks/folding.py overfit RUN CHAIN.pdb

Arms: `sequences` (the model), `shuffled` (trained on permuted sequences), `scalars` (as many weights, no vectors).
Every call writes to benchmarks/results/.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from pyg_equiformer.data.protein_atoms import RESIDUE_ATOMS
from pyg_equiformer.data.protein_chains import read_protein_chains
from pyg_equiformer.folding import EquiFold, Frames, fape, fit_frames
from pyg_equiformer.folding.confidence import residue_lddt
from pyg_equiformer.folding.evaluate import compare
from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
from pyg_equiformer.folding.loss import true_ca
from pyg_equiformer.folding.predict import best_of
from pyg_equiformer.folding.run import train_fold
from pyg_equiformer.folding.saving import load_fold_model
from pyg_equiformer.folding.structures import Split, place_in_residue, split_entries, training_data
from pyg_equiformer.folding.train_config import FoldTrainConfig
from pyg_equiformer.training.hardware import hardware

RESULTS = Path(__file__).parent / "results"
STARTS = 3  #: random starts of each held-out protein
RECYCLES = 8  #: further passes of a prediction
LONGEST = 200  #: residues of held-out proteins that are folded
WATCHED = 8  #: held-out proteins to watch the training with; settings were chosen on them, so they are not scored
SPLIT_SEED = 0  #: the same sets for all arms and seeds


def shuffled(chain: Data, seed: int) -> Data:
    """A chain whose letters are permuted along its backbone: the same composition, another sequence."""
    order = torch.randperm(len(chain.sequence), generator=torch.Generator().manual_seed(seed)).tolist()
    letters = "".join(chain.sequence[k] for k in order)
    kept = ("N", "CA", "C", "O", "CB")
    keep = [
        atom in kept and atom in RESIDUE_ATOMS[letters[k]] for k, atom in zip(chain.residue.tolist(), chain.atom_names)
    ]
    mask = torch.tensor(keep)
    out = chain.clone()
    out.pos, out.residue, out.seq_pos = chain.pos[mask], chain.residue[mask], chain.seq_pos[mask]
    out.sequence, out.atom_names = letters, tuple(a for a, k in zip(chain.atom_names, keep) if k)
    return out


def place_atom(a: Tensor, b: Tensor, c: Tensor, length: float, angle: float, torsion: float) -> Tensor:
    """The atom after a, b and c, by its bond length in Å, bond angle and torsion in degrees."""
    angle, torsion = math.radians(angle), math.radians(torsion)
    x = torch.nn.functional.normalize(c - b, dim=0)
    z = torch.nn.functional.normalize(torch.linalg.cross(b - a, x), dim=0)
    y = torch.linalg.cross(z, x)
    along, off = -length * math.cos(angle), length * math.sin(angle)
    return c + along * x + off * (math.cos(torsion) * y + math.sin(torsion) * z)


def helix_backbone(residues: int) -> Tensor:
    """N, CA, C and O of an ideal α-helix [L, 4, 3] in Å: φ = −57°, ψ = −47°, bonds and angles of Engh and Huber."""
    phi, psi, omega = -57.0, -47.0, 180.0
    atoms = [torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.458, 0.0, 0.0])]
    turn = math.radians(180 - 111.0)
    atoms = [a.double() for a in (*atoms, atoms[1] + 1.525 * torch.tensor([math.cos(turn), math.sin(turn), 0.0]))]
    for _ in range(residues):
        for length, angle, torsion in ((1.329, 117.2, psi), (1.458, 121.7, omega), (1.525, 111.0, phi)):
            atoms.append(place_atom(*atoms[-3:], length, angle, torsion))
    chain = torch.stack(atoms).view(-1, 3, 3)[:residues]
    oxygen = [place_atom(*residue, 1.231, 120.1, psi + 180) for residue in chain]
    return torch.cat([chain, torch.stack(oxygen)[:, None]], dim=1)


def helix(data: Data, model: EquiFold) -> Frames:
    """Frames of the backbone of an ideal helix; groups of side chains mean nothing and are not scored."""
    shapes = model.shapes.double()[data.group_type]
    places = data.seq_pos - data.seq_pos.min()
    atoms = helix_backbone(int(places.max()) + 1)[places[data.residue]]
    pos = torch.zeros(len(data.group_type), MAX_ATOMS, 3, dtype=torch.float64)
    there = torch.zeros(len(data.group_type), MAX_ATOMS, dtype=torch.bool)
    names = ("N", "CA", "C", "O")
    for g, kind in enumerate(data.group_type.tolist()):
        for a, atom in enumerate(GROUPS[kind].atoms):
            if atom in names:
                pos[g, a], there[g, a] = atoms[g, names.index(atom)], True
    return fit_frames(shapes, pos, there)


def backbone_scores(frames: Frames, data: Data, model: EquiFold) -> dict[str, float]:
    """FAPE (clamped at 10 Å) of the two groups of the backbone, and lDDT of the Cα."""
    frames = Frames(frames.rotation.double(), frames.origin.double())
    backbone = (place_in_residue(data.residue) < 2) & data.known
    atoms = frames.apply(model.shapes.double()[data.group_type])
    mask = data.true_mask & backbone[:, None]
    true = Frames(data.rotation.double(), data.origin.double())
    error = fape(frames, atoms, true, data.pos_true.double(), mask, frame_mask=backbone)
    ca, known = true_ca(data)
    first = place_in_residue(data.residue) == 0
    lddt, rated = residue_lddt(atoms[first, 1], ca.double(), known)
    return {"fape": float(error), "lddt": float(lddt[rated].mean())}


def watched(split: Split) -> list[list[Data]]:
    """Held-out proteins to watch the training with."""
    return [e for e in split.valid if residues(e) <= 150][:WATCHED]


def held_out(split: Split, model: EquiFold) -> list[Data]:
    """Held-out proteins that nothing was chosen on."""
    seen = {id(e) for e in watched(split)}
    entries = [e for e in split.valid if residues(e) <= LONGEST and id(e) not in seen]
    return [training_data(entry, model.templates) for entry in entries]


def residues(entry: list[Data]) -> int:
    return sum(len(chain.sequence) for chain in entry)


def judge(model: EquiFold, proteins: list[Data]) -> list[dict[str, Any]]:
    """Scores of each held-out protein, mean over random starts."""
    rows = []
    for data in proteins:
        folded = [best_of(model, data, seed=seed, recycles=RECYCLES) for seed in range(STARTS)]
        runs = [backbone_scores(each.frames, data, model) for each in folded]
        rows.append(
            {"name": data.name, "residues": int(data.num_residues)}
            | {k: sum(r[k] for r in runs) / STARTS for k in ("fape", "lddt")}
        )
    return rows


def learn(args: argparse.Namespace) -> None:
    """Train one arm, and judge it on the held-out proteins."""
    torch.set_num_threads(1)
    files = [str(args.shared / f"{name}.npz") for name in ("protein_bm5_chains", "protein_designed_minibinders")]
    split = split_entries(read_protein_chains(files, "heavy").chains, 0.2, SPLIT_SEED)
    model_settings: dict[str, Any] = {}
    train = split.train
    if args.arm == "shuffled":
        train = [[shuffled(chain, k) for chain in entry] for k, entry in enumerate(split.train)]
    if args.arm == "scalars":
        model_settings["irreps"] = args.scalars
    shapes = [chain for entry in split.train for chain in entry]
    config = FoldTrainConfig(
        max_time=None,
        epochs=args.epochs, seed=args.seed, model=model_settings, crop=64, validations=5,
        violation_weight=0.05, violation_start=0.8, local_weight=1.0, mixed_starts=0.75,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = train_fold(config, Path(folder) / "run", split=Split(train, watched(split), [], shapes))
        model = load_fold_model(run)
        course = (run / "metrics.csv").read_text()
        told = json.loads((run / "metrics.json").read_text())
    proteins = held_out(split, model)
    result = {
        "arm": args.arm, "seed": args.seed, "epochs": args.epochs, "steps": told["steps"],
        "weights": sum(p.numel() for p in model.parameters()), "train_proteins": len(train),
        "starts": STARTS, "recycles": RECYCLES, "proteins": judge(model, proteins), "course": course,
        "hardware": hardware(),
    }  # fmt: skip
    if args.arm == "sequences":
        torch.manual_seed(args.seed)
        untrained = EquiFold(model.config, model.templates, model.avg_degree).eval()
        result["untrained"] = judge(untrained, proteins)
        result["helix"] = [
            {"name": p.name, "residues": int(p.num_residues), **backbone_scores(helix(p, model), p, model)}
            for p in proteins
        ]
    write(f"folding_{args.arm}_seed{args.seed}.json", result)


def overfit(args: argparse.Namespace) -> None:
    """Judge a run that was trained on one chain, from unseen starts."""
    model = load_fold_model(args.run)
    entry = read_protein_chains(args.chain, "heavy").chains
    data = training_data(entry, model.templates)
    rows = [compare(best_of(model, data, seed=seed), data, entry, model).metrics for seed in range(1000, 1010)]
    told = json.loads((args.run / "metrics.json").read_text())
    mean = {k: sum(r[k] for r in rows) / len(rows) for k in rows[0]}
    print({k: round(v, 3) for k, v in mean.items()})
    content = {"residues": len(data.sequence), "starts": rows, "mean": mean, "steps": told["steps"],
               "seconds": told["seconds"], "hardware": told["hardware"]}  # fmt: skip
    write("folding_overfit.json", content)


def write(name: str, content: dict[str, Any]) -> None:
    """Write one result."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("learn", help="train one arm and judge it")
    p.add_argument("--shared", type=Path, required=True, help="folder with protein_bm5_chains.npz")
    p.add_argument("--epochs", type=int, default=16)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--arm", choices=("sequences", "shuffled", "scalars"), default="sequences")
    p.add_argument("--scalars", default="60x0e", help="irreps of the arm without vectors")
    p.set_defaults(run_command=learn)
    p = commands.add_parser("overfit", help="judge a run on one chain")
    p.add_argument("run", type=Path)
    p.add_argument("chain", type=Path)
    p.set_defaults(run_command=overfit)
    args = parser.parse_args()
    args.run_command(args)


if __name__ == "__main__":
    main()
