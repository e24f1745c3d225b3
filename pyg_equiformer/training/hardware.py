"""What a run ran on: processor, memory, GPU and versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("pyg_equiformer", "torch", "torch_geometric", "lightning", "e3nn", "numpy")


def hardware() -> dict[str, Any]:
    """Return processor, cores, memory, GPUs, platform and versions, as plain values for JSON.

    `cores` are those that this process may use. GPUs and packages that are not there have no entry.

    Example:
        >>> sorted(hardware()["versions"])[-1]
        'torch_geometric'
    """
    facts: dict[str, Any] = {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    if memory := _memory():
        facts["memory"] = {"value": round(memory / 2**30, 1), "unit": "GiB"}
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        facts["gpus"] = [device.name for device in devices]
        facts["gpu_memory"] = {"value": round(devices[0].total_memory / 2**30, 1), "unit": "GiB"}
        facts["cuda"] = torch.version.cuda
    facts["platform"] = platform.platform()
    facts["versions"] = {"python": platform.python_version(), **_versions()}
    return facts


def processor_name() -> str:
    """Return the name of the processor, as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    """Bytes of memory of the machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
