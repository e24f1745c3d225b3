"""Errors of energies and forces of each precision against float64, written to results/precision_<device>.json.

    python benchmarks/precision.py --preset qm9 md17 small

Networks have new weights, molecules are made up (`pyg_equiformer.bench.systems`). Run it on a GPU for TF32, which
processors do not have.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.bench.machine import choose_device, describe_machine
from pyg_equiformer.bench.systems import System, preset_system
from pyg_equiformer.models import preset_config

RESULTS = Path(__file__).parent / "results"
PRECISIONS = ("float32", "tf32", "bf16")


def outputs(model: Equiformer, system: System, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        out = EnergyForces(model)(system.z, system.pos.to(dtype), system.batch, edge_index=system.edge_index)
    return out["energy"].double(), out["forces"].double()


def errors(preset: str, molecules: int, device: torch.device) -> dict[str, Any]:
    """Return root mean square errors, relative to the root mean square of energies and forces, of each precision."""
    config = preset_config(preset)
    system = preset_system(preset, config, molecules).to(device)
    torch.manual_seed(0)
    model = Equiformer(config).eval().to(device)
    exact = Equiformer(config, precision="float64").eval().to(device)
    exact.load_state_dict(model.state_dict())
    energy, forces = outputs(exact, system, torch.float64)
    rows: dict[str, Any] = {}
    for precision in PRECISIONS:
        if precision == "tf32" and device.type != "cuda":
            continue
        model.set_precision(precision)
        e, f = outputs(model, system, torch.float32)
        rows[precision] = {
            "energy": ((e - energy).square().mean() / energy.square().mean()).sqrt().item(),
            "forces": ((f - forces).square().mean() / forces.square().mean()).sqrt().item(),
            "worst_force": ((f - forces).norm(dim=1).max() / forces.norm(dim=1).square().mean().sqrt()).item(),
        }
        print(preset, precision, {k: f"{v:.1e}" for k, v in rows[precision].items()}, flush=True)
    return {"system": system.facts(), "errors": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", default=["small", "qm9", "md17"])
    parser.add_argument("--molecules", type=int, default=2)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device)
    result = {"benchmark": "precision", "machine": describe_machine(device), "unit": "relative to the root mean square"}
    result["presets"] = {preset: errors(preset, args.molecules, device) for preset in args.preset}
    path = RESULTS / f"precision_{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("→", path)


if __name__ == "__main__":
    main()
