"""Peak memory of a task, measured in a process of its own."""

import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ..models import preset_config
from .peers import Unavailable, build_peer
from .systems import preset_system, workload
from .timing import run_task, synchronize
from .variants import OURS, Variant

#: Nobody is given more than this part of the memory that is free.
MEMORY_SHARE = 0.7
_STATUS = Path("/proc/self/status")


def measure_memory(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the peak memory of a task in a fresh process: {"bytes": above what was there before, "before": bytes}.

    Args:
        spec: {"peer", "variant", "preset", "molecules", "task", "device", "threads"}.

    Returns:
        {"error": why} if the process failed.
    """
    command = [sys.executable, "-m", "pyg_equiformer.bench.memory", json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()  # peers may print too, before
    if done.returncode == 0 and lines:
        return dict(json.loads(lines[-1]))
    if done.returncode < 0:
        return {"error": f"ended by signal {-done.returncode}, as the system does when memory runs out"}
    told = done.stderr.strip().splitlines()
    return {"error": told[-1] if told else f"ended with code {done.returncode}"}


def fitting_batch(spec: dict[str, Any]) -> int:
    """Return how many molecules, at most those of the specification, a peer has the memory for.

    Args:
        spec: as for `measure_memory`; one molecule is tried.

    Raises:
        Unavailable: if not even that works.
    """
    one = measure_memory({**spec, "molecules": 1, "task": "step"})
    if "error" in one:
        raise Unavailable(f"one molecule: {one['error']}")
    free = available_memory(torch.device(spec["device"]))
    most = spec["molecules"] if free is None else int(MEMORY_SHARE * free / max(1, one["bytes"]))
    return max(1, min(spec["molecules"], most))


def measure_here(spec: dict[str, Any]) -> dict[str, int]:
    """Do a task twice and return its peak memory; what it would load or compile is made before, with two molecules.

    On CUDA it counts what PyTorch allocated; else the resident memory of the process, which must be fresh.
    """
    torch.set_num_threads(spec["threads"])
    device, preset = torch.device(spec["device"]), spec["preset"]
    config, forces = preset_config(preset), workload(spec["preset"]).forces
    system = preset_system(preset, config, spec["molecules"]).to(device)
    variant = Variant(**spec["variant"]) if spec["peer"] == OURS else None
    peer = build_peer(spec["peer"], config, system, device, variant)
    few = system.first(2)  # of one, compiled code would be made for one alone
    for _ in range(2):
        run_task(peer, few, spec["task"], forces)
    before = reset_peak(device)
    for _ in range(2):
        run_task(peer, system, spec["task"], forces)
    synchronize(device)
    return {"bytes": max(0, peak_memory(device) - before), "before": before}


def reset_peak(device: torch.device) -> int:
    """Forget the peak, give back what is free, and return the bytes in use now."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
    return _status("VmRSS") if _forget_resident_peak() else _resident_peak()


def forgets(device: torch.device) -> bool:
    """Tell whether the peak can be forgotten; where it cannot, it is that since the process began."""
    return device.type == "cuda" or _forget_resident_peak()


def _forget_resident_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_peak()


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that are free; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)


def _resident_peak() -> int:
    if _STATUS.exists():
        return _status("VmHWM")
    try:
        import resource
    except ImportError:  # Windows
        raise Unavailable("this system does not tell the peak memory of a process") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int:
    """Bytes of an entry of the process's status."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise Unavailable(f"{_STATUS} has no {key}")


if __name__ == "__main__":
    print(json.dumps(measure_here(json.loads(sys.argv[1]))))
