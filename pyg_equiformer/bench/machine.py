"""The machine and what it can do at best: rate of matrix products, memory bandwidth."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .allocator import describe_allocator
from .timing import seconds_of

PACKAGES = (
    "pyg_equiformer",
    "torch",
    "torch_geometric",
    "e3nn",
    "triton",
    "equiformer-pytorch",
    "cuequivariance-torch",
    "openequivariance",
    "vesin",
)


def choose_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is a CUDA device if there is one.

    Raises:
        ValueError: for another name, or CUDA where there is none.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device: expected auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: there is no CUDA device here, expected auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return processor, GPU, threads, versions, and what the machine reaches at best, as plain values for JSON."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "device": device.type,
        "allocator": describe_allocator(),
        "versions": {"python": platform.python_version(), **_versions()},
        "float32_products": torch.get_float32_matmul_precision(),
    }
    if device.type == "cuda":
        facts["gpu"], facts["cuda"] = torch.cuda.get_device_name(device), torch.version.cuda
    facts["matrix_product"] = {"value": round(product_rate(device), 1), "unit": "GFLOP/s"}
    facts["copy"] = {"value": round(copy_rate(device), 1), "unit": "GB/s"}
    return facts


def product_rate(device: torch.device, size: int | None = None) -> float:
    """Return the rate of float32 matrix products in GFLOP/s, the best of several.

    Args:
        device: to measure.
        size: rows and columns; None: 2048 on CPUs and 8192 on GPUs.
    """
    n = size or (8192 if device.type == "cuda" else 2048)
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    out = torch.empty_like(a)
    return 2e-9 * n**3 / _best(lambda: torch.mm(a, b, out=out), device)


def copy_rate(device: torch.device, numbers: int = 2**26) -> float:
    """Return the bytes read and written per second by a copy that fits in no cache, in GB/s, the best of several."""
    a = torch.zeros(numbers, device=device)
    out = torch.empty_like(a)
    return 8e-9 * numbers / _best(lambda: out.copy_(a), device)


def _best(function: Any, device: torch.device) -> float:
    function()
    return min(seconds_of(function, device) for _ in range(5))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
