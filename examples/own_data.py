"""Your own data: train on a file, go on using the model, and see how far to trust it.

    python examples/own_data.py                       # the bundled ethanol sample as an example, about five minutes
    python examples/own_data.py mine.xyz              # extended XYZ, an ASE database, .npz, a folder of PDB files, …
    python examples/own_data.py mine.xyz --targets dipole
    python examples/own_data.py --smoke               # a few steps

`pyg-equiformer train mine.xyz --ensemble 2` does the same from the command line; README.md tells of units and names.
"""

import argparse
import tempfile
from pathlib import Path

from torch_geometric.data import Batch

from pyg_equiformer import load_model
from pyg_equiformer.data import RadiusGraph, ReadOptions, open_structures
from pyg_equiformer.data.structures import SAMPLES
from pyg_equiformer.training import predict_file, resolve, train_committee

SAMPLE = SAMPLES / "ethanol_train.xyz.xz"


def main(path: Path, targets: list[str], folder: Path, smoke: bool) -> None:
    # The recipe "small", with a few changes of our own; README.md and `pyg-equiformer train --settings` list them all.
    settings = {"read": {"targets": targets}, "test_fraction": 0.1, "epochs": 1 if smoke else 12}
    if smoke:
        settings |= {"train_size": 10, "valid_fraction": 4, "test_fraction": 4, "model": {"num_layers": 1}}
    config = resolve(str(path), preset="small", settings=settings)

    # Two models with different seeds: where they differ, neither should be trusted.
    result = train_committee(config, 2, out=folder / "run")
    for name in ("energy_mae", "forces_mae"):
        if name in result.metrics["test"]:
            print(name, result.metrics["test"][name])

    # From now on the model is one file. In Python:
    model = load_model(folder / "run" / "model.pt")
    structures = open_structures(path, ReadOptions(targets=tuple(targets))).structures
    neighbours = RadiusGraph(model.config.cutoff)
    batch = Batch.from_data_list([neighbours(structures[i]) for i in range(2)])
    for name, values in model(batch).items():
        print(name, values[:2].tolist())  # energies in eV, forces in eV/Å, …, each with <name>_std

    # Or for a whole file, labelled or not: predictions and their spread beside the structures.
    predict_file(folder / "run", str(path), folder / "predicted.xyz")
    print(f"see {folder}/predicted.xyz and {folder}/run/report.md")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SAMPLE, help="what to train on")
    parser.add_argument("--targets", nargs="*", default=[], help="labels; without it energies, forces and stress")
    parser.add_argument("--out", type=Path, help="new folder for the results; without it a temporary one")
    parser.add_argument("--smoke", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()
    main(options.data, options.targets, options.out or Path(tempfile.mkdtemp()), options.smoke)
