"""How much work a task is: multiplications of its matrix products, bytes that its operations move."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

#: What the numbers mean, told beside them.
COUNTED = {
    "flops": "two for each multiply-add of the matrix products of eager code with the torch engine, nothing else",
    "bytes": "tensors read and written by each operation of eager code with the torch engine, views left out; an "
    "estimate: caches and fused code need less, so that a share of it may exceed 1",
}


class WorkCounter(TorchDispatchMode):
    """Count the arithmetic of matrix products, by PyTorch's formulas, and the bytes that operations read and write.

    PyTorch's own `FlopCounterMode` also attributes the work to modules, which fails under `torch.autograd.grad`.

    Example:
        >>> a = torch.ones(2, 3)
        >>> with WorkCounter() as counter:
        ...     b = a @ a.view(3, 2)
        >>> counter.flops, counter.bytes
        (24, 64)
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        name = func._schema.name
        if not func.is_view and not name.startswith(("aten::empty", "aten::detach", "aten::_unsafe_view")):
            self.bytes += sum(_bytes(x) for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor))
        return out


def _bytes(x: torch.Tensor) -> int:
    # An expanded tensor has more elements than memory.
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


def count_work(task: Callable[[], Any]) -> dict[str, dict[str, Any]]:
    """Return the work of a task, which is done once: {"flops", "bytes"}, each {"value", "counted"}.

    Example:
        >>> a = torch.ones(2, 3)
        >>> count_work(lambda: a @ a.T)["flops"]["value"]
        24
    """
    with WorkCounter() as counter:
        task()
    return {kind: {"value": getattr(counter, kind), "counted": told} for kind, told in COUNTED.items()}


def shares(work: dict[str, dict[str, Any]], seconds: float, machine: dict[str, Any]) -> dict[str, float]:
    """Return the shares of the machine's rates that a task of so many seconds reached.

    Args:
        work: from `count_work`.
        seconds: that the task took.
        machine: from `describe_machine`.
    """
    return {
        "matrix_product": 1e-9 * work["flops"]["value"] / seconds / machine["matrix_product"]["value"],
        "copy": 1e-9 * work["bytes"]["value"] / seconds / machine["copy"]["value"],
    }
