"""Times, memory and scaling of the network, beside other implementations of it, in one run.

The names below are imported on first use, so that the command line can set up its process without loading PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import run
    from .figures import draw_figures
    from .report import notes, table
    from .settings import BenchSettings
    from .variants import Variant

_HOMES = {
    "BenchSettings": "settings",
    "Variant": "variants",
    "draw_figures": "figures",
    "notes": "report",
    "run": "comparison",
    "table": "report",
}

__all__ = ["BenchSettings", "Variant", "draw_figures", "notes", "run", "table"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
