"""Memory of the C library that stays with the process, so that no peer is timed while it asks the system for pages."""

import os
import platform
import sys
from collections.abc import Mapping

#: Blocks below 8 GiB are neither mapped one by one nor given back.
KEPT = {name: str(2**33) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")}


def unset(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what is still to be set before the process starts; nothing where another C library than glibc serves."""
    if platform.libc_ver()[0] != "glibc":
        return {}
    return {name: value for name, value in KEPT.items() if name not in environment}


def describe_allocator(environment: Mapping[str, str] = os.environ) -> str:
    """Return how the C library treats freed memory, in words.

    Example:
        >>> describe_allocator({})
        'as the system has it'
    """
    if all(environment.get(name) == value for name, value in KEPT.items()):
        return "keeps freed memory (MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ at 8 GiB)"
    told = [f"{name}={environment[name]}" for name in KEPT if name in environment]
    return ", ".join(told) or "as the system has it"


def restart(missing: Mapping[str, str]) -> None:
    """Begin this process anew with more in its environment; does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **missing})
