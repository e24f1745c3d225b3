"""Train energies and forces of a molecule of MD17 with the published network and losses, in a plain PyTorch loop.

    python examples/md17.py --molecule aspirin            # downloads the trajectory at first; a day on a GPU
    python examples/md17.py --molecule aspirin --smoke    # a few steps of a small network

`pyg-equiformer train md17:aspirin` does the same, and writes checkpoints, figures and a report.
"""

import argparse

import numpy as np
import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch_geometric.data import Data
from torch_geometric.datasets import MD17
from torch_geometric.loader import DataLoader

from pyg_equiformer import EnergyForces, Equiformer, save_model
from pyg_equiformer.data import RadiusGraph
from pyg_equiformer.units import KCAL_PER_MOL

EPOCHS, WARMUP, BATCH_SIZE, LEARNING_RATE, FORCES_WEIGHT = 1500, 10, 8, 5e-4, 80


def main(root: str, molecule: str, smoke: bool) -> None:
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    dataset = MD17(f"{root}/MD17", molecule, transform=RadiusGraph(5.0))
    # PyG keeps energies in float32, which is too coarse for totals of 1e5 kcal/mol: read them anew.
    raw = np.load(dataset.raw_paths[0])
    energies = torch.from_numpy(raw["energies" if "energies" in raw else "E"]).reshape(-1) * KCAL_PER_MOL

    order = np.random.default_rng(1).permutation(len(dataset))
    cuts = [950, 1000] if len(order) > 1000 else [int(0.8 * len(order)), int(0.9 * len(order))]
    # Published errors are those of all other frames; a thousand of them give nearly the same.
    frames = (part[: 32 if smoke else 1000] for part in np.split(order, cuts))
    train, valid, test = ([structure(dataset[int(i)], energies[i]) for i in part] for part in frames)

    total = torch.cat([data.energy for data in train])
    network = Equiformer.from_preset("small", num_layers=1) if smoke else Equiformer.from_preset("md17")
    model = EnergyForces(network, energy_scale=float(total.std()), energy_shift=float(total.mean())).to(device)

    epochs, warmup = (6, 1) if smoke else (EPOCHS, WARMUP)
    loader = DataLoader(train, BATCH_SIZE, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-6)
    steps = epochs * len(loader)
    schedule = OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=warmup / epochs, cycle_momentum=False)
    for epoch in range(epochs):
        model.train()
        for batch in loader:
            batch = batch.to(device)
            out = model(batch)
            energy_loss = (out["energy"] - batch.energy).abs().mean()
            force_loss = (out["forces"] - batch.forces).norm(dim=1).mean()
            optimizer.zero_grad()
            ((energy_loss + FORCES_WEIGHT * force_loss) / model.energy_scale).backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: validation {mean_errors(model, valid, device)}")

    print(f"test: {mean_errors(model, test, device)} (mean absolute errors)")
    save_model(f"md17_{molecule}.pt", model, molecule=molecule)
    print(f"saved md17_{molecule}.pt")


def structure(data: Data, energy: torch.Tensor) -> Data:
    """The frame in eV and eV/Å."""
    data.energy, data.forces = energy.view(1), data.force * KCAL_PER_MOL
    return data


@torch.no_grad()
def mean_errors(model: EnergyForces, frames: list[Data], device: torch.device) -> str:
    model.eval()
    pairs = [(batch, model(batch)) for batch in (b.to(device) for b in DataLoader(frames, batch_size=32))]
    energy = torch.cat([(out["energy"] - batch.energy).abs() for batch, out in pairs]).mean()
    forces = torch.cat([(out["forces"] - batch.forces).abs() for batch, out in pairs]).mean()
    return f"energy {1000 * energy:.4g} meV, forces {1000 * forces:.4g} meV/Å"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder of the data sets")
    names = [name for name in MD17.file_names if "CCSD" not in name]
    parser.add_argument("--molecule", default="aspirin", choices=names, help="name of the trajectory in PyG")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    main(**vars(parser.parse_args()))
