"""Times of energies and forces by eager code, `torch.compile` and an exported file, → results/exported_<device>.json.

    python benchmarks/exported.py                    # the preset small and the published MD17 network
    python benchmarks/exported.py --preset small --molecules 1 --repeats 5
    python benchmarks/exported.py --preset md17 --no-compiled --add    # compiling this one takes tens of minutes

All three compute the same batches in turn, one timing of each after the other, and the medians are written. Networks
have new weights, molecules are made up (`pyg_equiformer.bench.systems`). Compiling takes minutes, which are told apart.
The exported file computes the stress too, as it always does, and takes edges as they come; eager and compiled code
find out in every call which edges are each other's reverses, and compute radial weights once for both.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pyg_equiformer import EnergyForces, Equiformer
from pyg_equiformer.bench.machine import choose_device, describe_machine
from pyg_equiformer.bench.systems import System, preset_system
from pyg_equiformer.bench.timing import interleaved
from pyg_equiformer.export import export_model, load_exported
from pyg_equiformer.models import preset_config

RESULTS = Path(__file__).parent / "results"


def potentials(preset: str, device: torch.device, compiles: bool) -> tuple[dict[str, Any], float]:
    """Return one network two or three times over, and how long its export took in s."""
    torch.manual_seed(0)
    eager = Equiformer(preset_config(preset)).eval().to(device)
    models = {"eager": EnergyForces(eager)}
    if compiles:
        compiled = Equiformer(preset_config(preset), compile=True).eval().to(device)
        compiled.load_state_dict(eager.state_dict())
        models["compiled"] = EnergyForces(compiled)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        export_model(EnergyForces(eager), Path(folder) / "model.pt2", device=device.type)
        seconds = time.perf_counter() - start
        exported = load_exported(Path(folder) / "model.pt2")
    return {**models, "exported": exported}, seconds


def job(model: Any, system: System) -> Callable[[], dict[str, torch.Tensor]]:
    def call() -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return model(system.z, system.pos, system.batch, edge_index=system.edge_index)

    return call


def measure(preset: str, molecules: list[int], repeats: int, device: torch.device, compiles: bool) -> dict[str, Any]:
    """Return the times of each size in s, and the largest difference of exported from eager forces."""
    models, seconds = potentials(preset, device, compiles)
    sizes = []
    for count in molecules:
        system = preset_system(preset, preset_config(preset), count).to(device)
        jobs = {name: job(model, system) for name, model in models.items()}
        eager, exported = jobs["eager"]()["forces"], jobs["exported"]()["forces"]
        error = ((eager - exported).norm(dim=1).max() / eager.norm(dim=1).square().mean().sqrt()).item()
        times = interleaved(jobs, repeats, device)
        sizes.append({"system": system.facts(), "seconds": times, "force_difference": error})
        print(preset, system.facts(), {name: f"{t.get('median', t)}" for name, t in times.items()}, f"{error:.1e}")
    return {"export_seconds": seconds, "sizes": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", default=["small", "md17"])
    parser.add_argument("--molecules", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--no-compiled", dest="compiled", action="store_false", help="leave torch.compile out")
    parser.add_argument("--add", action="store_true", help="to presets that were measured before, on the same machine")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="[default: results/exported_<device>.json]")
    args = parser.parse_args()
    device = choose_device(args.device)
    result: dict[str, Any] = {"benchmark": "exported", "machine": describe_machine(device), "repeats": args.repeats}
    result["unit"] = "s for energies and forces of a batch; force_difference relative to the root mean square"
    path = args.out or RESULTS / f"exported_{device.type}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if args.add and path.is_file() else None
    if before and any(before["machine"][k] != result["machine"][k] for k in ("processor", "threads", "device")):
        parser.error(f"--add: {path} was measured on another machine, or with other threads")
    result["presets"] = before["presets"] if before else {}
    for preset in args.preset:
        result["presets"][preset] = measure(preset, args.molecules, args.repeats, device, args.compiled)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")  # the next one takes minutes
        print("→", path)


if __name__ == "__main__":
    main()
