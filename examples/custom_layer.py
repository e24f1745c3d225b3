"""EquiformerConv as a layer of your own model: a force field from torch_geometric.nn.Sequential.

python examples/custom_layer.py            # about three minutes on two cores
python examples/custom_layer.py --smoke    # a few steps
"""

import argparse

import torch
from torch import nn
from torch_geometric.loader import DataLoader
from torch_geometric.nn import Sequential, global_add_pool

from pyg_equiformer import EdgeGeometry, EquiformerConv, radius_graph
from pyg_equiformer.data import bundled_sample
from pyg_equiformer.nn import EquivariantNorm, FeedForward

IRREPS, IRREPS_SH, CUTOFF = "32x0e+16x1e+8x2e", "1x0e+1x1e+1x2e", 5.0


class MyModel(nn.Module):
    """Two attention layers between an embedding and a sum over atoms; forces are minus the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 32)
        self.geometry = EdgeGeometry(IRREPS_SH, cutoff=CUTOFF, num_basis=16)
        settings = {"irreps_sh": IRREPS_SH, "edge_dim": 16, "heads": 4}
        arguments = "x, edge_index, edge_sh, edge_attr"
        self.layers = Sequential(
            arguments,
            [
                (EquiformerConv("32x0e", irreps_out=IRREPS, irreps_pre_attn=IRREPS, **settings), f"{arguments} -> x"),
                (EquivariantNorm(IRREPS), "x -> x"),
                (EquiformerConv(IRREPS, **settings), f"{arguments} -> x"),
                (FeedForward(IRREPS, "1x0e", irreps_mid=IRREPS), "x -> x"),
            ],
        )

    def forward(self, z, pos, batch):
        pos = pos.requires_grad_()
        edge_index = radius_graph(pos, CUTOFF, batch)
        edge_sh, edge_attr = self.geometry(pos, edge_index)
        atom_energy = self.layers(self.embed(z), edge_index, edge_sh, edge_attr)
        energy = global_add_pool(atom_energy, batch).squeeze(1)
        forces = -torch.autograd.grad(energy.sum(), pos, create_graph=self.training)[0]
        return energy, forces


def main(steps: int) -> float:
    torch.manual_seed(0)
    train, test = bundled_sample("train"), bundled_sample("test")
    model = MyModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    step = 0
    while step < steps:
        for batch in DataLoader(train, batch_size=8, shuffle=True):
            _, forces = model(batch.z, batch.pos, batch.batch)
            loss = (forces - batch.forces).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                print(f"step {step:5d}: training error {1000 * float(loss.detach()):6.1f} meV/Å")
            if step == steps:
                break
    model.eval()
    batch = next(iter(DataLoader(test, batch_size=len(test))))
    error = (model(batch.z, batch.pos, batch.batch)[1] - batch.forces).abs().mean()
    print(
        f"test error {1000 * float(error):.1f} meV/Å; the forces spread by {1000 * float(batch.forces.std()):.1f} meV/Å"
    )
    return float(error / batch.forces.std())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    main(5 if parser.parse_args().smoke else 1000)
