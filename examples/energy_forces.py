"""Train energies and forces in a plain PyTorch loop, save the model, and use it.

    python examples/energy_forces.py            # half a minute on two cores
    python examples/energy_forces.py --smoke    # a few steps

`pyg-equiformer train` does the same with less code, better settings and figures.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch_geometric.loader import DataLoader

from pyg_equiformer import EnergyForces, Equiformer, load_model, save_model
from pyg_equiformer.data import RadiusGraph, bundled_sample


def main(steps: int) -> None:
    torch.manual_seed(0)
    # Neighbours never change in a stored structure: find them once.
    neighbours = RadiusGraph(5.0)
    train = [neighbours(data) for data in bundled_sample("train")]
    test = [neighbours(data) for data in bundled_sample("test")]
    shift = float(torch.cat([d.energy for d in train]).mean())

    network = Equiformer.from_preset("small", num_layers=2)
    potential = EnergyForces(network, energy_shift=shift)
    optimizer = torch.optim.Adam(potential.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    step = 0
    while step < steps:
        for batch in DataLoader(train, batch_size=8, shuffle=True):
            out = potential(batch)
            energy_loss = (out["energy"] - batch.energy).square().mean()
            force_loss = (out["forces"] - batch.forces).square().mean()
            optimizer.zero_grad()
            (energy_loss + 10 * force_loss).backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                print(f"step {step:4d}: forces {1000 * force_loss.detach().sqrt():7.1f} meV/Å (RMS)")
            if step == steps:
                break

    path = Path(tempfile.mkdtemp()) / "ethanol.pt"
    save_model(path, potential, trained_on="the bundled ethanol sample")
    potential = load_model(path)
    with torch.no_grad():
        batch = next(iter(DataLoader(test, batch_size=50)))
        error = (potential(batch)["forces"] - batch.forces).abs().mean()
    print(f"saved {path}; test forces: {1000 * error:.1f} meV/Å mean error, {1000 * batch.forces.std():.1f} spread")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    main(5 if parser.parse_args().smoke else 400)
