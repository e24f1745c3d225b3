"""Look inside a trained model: what its layers attend to, and which edges and atoms its energy rests on.

    python examples/look_inside.py runs/mine               # a model of yours, on its first structure of training
    python examples/look_inside.py runs/mine new.xyz       # on a structure of a file
    python examples/look_inside.py                         # trains on the bundled sample of ethanol first, some minutes
    python examples/look_inside.py --smoke                 # a few steps, to see that it runs

It writes attention.png (all layers), heads.png (each head) and a page attention.html to turn the molecule in.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from ase.data import chemical_symbols
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, GNNExplainer

from pyg_equiformer.data import RadiusGraph, ReadOptions, open_structures
from pyg_equiformer.data.structures import SAMPLES
from pyg_equiformer.explain import Explainable, attention_maps, draw_attention, view_attention
from pyg_equiformer.training import load_run, resolve, train

SAMPLE = SAMPLES / "ethanol_train.xyz.xz"


def some_run(folder: Path, smoke: bool) -> Path:
    """Train on the bundled sample."""
    settings = {"test_fraction": 0.1, "epochs": 1 if smoke else 4}
    if smoke:
        settings |= {"train_size": 10, "valid_fraction": 4, "test_fraction": 4, "model": {"num_layers": 1}}
    return train(None, resolve(str(SAMPLE), preset="small", settings=settings), out=folder / "run").folder


def attention(model: torch.nn.Module, data: Data, folder: Path) -> None:
    """Draw what each layer and head attends to, and tell what the last layer's atoms look at most."""
    maps = attention_maps(model, data)  # alpha [layers, edges, heads], which adds up to 1 over each atom's edges
    draw_attention(maps, data.pos, data.z, path=folder / "attention.png")
    draw_attention(maps, data.pos, data.z, heads="each", path=folder / "heads.png")
    try:
        page = view_attention(maps, data.pos, data.z, top=100)._make_html()
        (folder / "attention.html").write_text(page)
    except ImportError as missing:
        print(missing)
    alpha = maps.alpha[-1].mean(dim=1)  # of the last layer, mean of the heads
    for edge in alpha.topk(5).indices:
        j, i = maps.edge_index[:, edge].tolist()
        print(f"{atom(data, i)} attends to {atom(data, j)}, {maps.edge_vec[edge].norm():.2f} Å away: {alpha[edge]:.3f}")


def explanation(model: torch.nn.Module, data: Data, epochs: int) -> None:
    """Let PyG's GNNExplainer find the edges and atoms without which the energy would be another."""
    explainable = Explainable(model)
    explainer = Explainer(
        explainable,
        GNNExplainer(epochs=epochs, lr=0.1, edge_size=0.05, edge_ent=0.1),
        explanation_type="model",
        node_mask_type="object",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "graph", "return_type": "raw"},
    )
    x, edge_index, rest = explainable.arguments(data)
    found = explainer(x, edge_index, **rest)
    for edge in found.edge_mask.topk(5).indices:
        j, i = edge_index[:, edge].tolist()
        print(f"the energy rests on {atom(data, j)} → {atom(data, i)}: {found.edge_mask[edge]:.3f}")
    node = int(found.node_mask.squeeze(1).argmax())
    print(f"… and on {atom(data, node)}: {float(found.node_mask[node, 0]):.3f}")


def atom(data: Data, i: int) -> str:
    return f"{chemical_symbols[int(data.z[i])]}{i}"


def main(run: Path | None, file: Path, folder: Path, smoke: bool) -> None:
    model = load_run(run or some_run(folder, smoke)).model
    model = model.models[0] if hasattr(model, "models") else model  # the first member of a committee
    structures = open_structures(file, ReadOptions(missing_labels="mask")).structures
    data = RadiusGraph(model.config.cutoff)(structures[0])
    data.pos = data.pos.to(next(model.parameters()).dtype)
    attention(model, data, folder)
    explanation(model, data, epochs=5 if smoke else 100)
    print(f"see {folder}/attention.png, heads.png and attention.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run; without it one is trained")
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE, help="structures, of which the first is taken")
    parser.add_argument("--out", type=Path, help="folder for the results; without it a temporary one")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()
    options.out and options.out.mkdir(parents=True, exist_ok=True)
    main(options.run, options.file, options.out or Path(tempfile.mkdtemp()), options.smoke)
