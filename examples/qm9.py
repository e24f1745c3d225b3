"""Train one property of QM9 with the published network and split, in a plain PyTorch loop.

    python examples/qm9.py --target gap            # downloads QM9 at first; days on a GPU
    python examples/qm9.py --target gap --smoke    # a few steps of a small network

`pyg-equiformer train qm9:gap` does the same, and writes checkpoints, figures and a report.
"""

import argparse

import numpy as np
import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch_geometric.datasets import QM9
from torch_geometric.loader import DataLoader

from pyg_equiformer import Equiformer, save_model
from pyg_equiformer.data import QM9_TARGETS, RadiusGraph

EPOCHS, WARMUP, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 300, 5, 128, 5e-4, 5e-3


def main(root: str, target: str, smoke: bool) -> None:
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Total energies are learnt without those of the free atoms.
    column, unit, error_unit = QM9_TARGETS[f"{target}_atom" if target in ("u0", "u", "h", "g") else target]
    per_unit = 1000 if unit == "eV" else 1

    # Neighbours never change in a stored structure: find them once.
    dataset = QM9(f"{root}/QM9", pre_transform=RadiusGraph(5.0))
    order = np.random.default_rng(1).permutation(len(dataset))
    cuts = [110_000, 120_000] if len(order) > 120_000 else [int(0.8 * len(order)), int(0.9 * len(order))]
    train, valid, test = (dataset[part[:64] if smoke else part] for part in np.split(order, cuts))

    labels = train.y[:, column]
    mean, std = float(labels.mean()), float(labels.std())
    preset, changes = ("small", {"num_layers": 1}) if smoke else ("qm9", {})
    model = Equiformer.from_preset(preset, output_mean=mean, output_std=std, **changes).to(device)

    epochs, warmup, batch_size = (6, 1, 8) if smoke else (EPOCHS, WARMUP, BATCH_SIZE)
    loader = DataLoader(train, batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * len(loader)
    schedule = OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=warmup / epochs, cycle_momentum=False)
    for epoch in range(epochs):
        model.train()
        errors = []
        for batch in loader:
            batch = batch.to(device)
            error = (model(batch).squeeze(1) - batch.y[:, column]).abs().mean()
            optimizer.zero_grad()
            (error / std).backward()
            optimizer.step()
            schedule.step()
            errors.append(error.detach())
        training, validation = float(torch.stack(errors).mean()), mean_error(model, valid, column, device)
        shown = f"training {training * per_unit:.4g}, validation {validation * per_unit:.4g} {error_unit}"
        print(f"epoch {epoch + 1}: {shown}")

    print(f"test: {mean_error(model, test, column, device) * per_unit:.4g} {error_unit} mean absolute error")
    save_model(f"qm9_{target}.pt", model, target=target, unit=unit)
    print(f"saved qm9_{target}.pt")


@torch.no_grad()
def mean_error(model: Equiformer, dataset: QM9, column: int, device: torch.device) -> float:
    model.eval()
    batches = (batch.to(device) for batch in DataLoader(dataset, batch_size=128))
    return float(torch.cat([(model(b).squeeze(1) - b.y[:, column]).abs() for b in batches]).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder of the data sets")
    parser.add_argument("--target", default="gap", choices=QM9_TARGETS, help="property to learn")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    main(**vars(parser.parse_args()))
