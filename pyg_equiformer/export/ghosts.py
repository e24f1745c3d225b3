"""Features of ghosts, the copies that a process of LAMMPS holds of its neighbours' atoms: only the owners know them."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ..o3 import Blocks

#: Columns per exchange on a CPU: LAMMPS has buffers for the three coordinates of each atom there, and writes past their
#: end without a word if it is given more. On GPUs its buffers grow.
HOST_COLUMNS = 3


class Processes(Protocol):
    """What LAMMPS's ML-IAP data with KOKKOS offers for rows [atoms, columns] of own atoms and ghosts."""

    def forward_exchange(self, rows: Tensor, out: Tensor, columns: int) -> None:
        """Copy rows to `out`, those of the ghosts from their owners."""

    def reverse_exchange(self, rows: Tensor, out: Tensor, columns: int) -> None:
        """Copy rows to `out`, add those of the ghosts to their owners' and leave them zero."""


class _FromOwners(torch.autograd.Function):
    """The rows of ghosts are those of their owners, so gradients of ghosts belong to the owners."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return _exchanged(processes.forward_exchange, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _exchanged(ctx.processes.reverse_exchange, grad), None


def fill_ghosts(x: Blocks, processes: Processes) -> Blocks:
    """Return features [N, 2l+1, C] of own atoms and ghosts in which the ghosts have those of their owners.

    Every process has to call it equally often, forwards and backwards.

    Args:
        x: blocks, own atoms first; what the ghosts have does not matter.
        processes: the data that LAMMPS hands to a unified model.
    """
    rows = _FromOwners.apply(torch.cat([block.flatten(1) for block in x], dim=1), processes)
    parts = rows.split([block.shape[1] * block.shape[2] for block in x], dim=1)
    return [part.reshape(block.shape) for part, block in zip(parts, x)]


def _exchanged(exchange: Callable[[Tensor, Tensor, int], None], rows: Tensor) -> Tensor:
    parts = [rows] if rows.is_cuda else rows.split(HOST_COLUMNS, dim=1)
    out = []
    for part in parts:
        part, filled = part.contiguous(), torch.empty_like(part, memory_format=torch.contiguous_format)
        exchange(part, filled, part.shape[1])
        out.append(filled)
    return torch.cat(out, dim=1)
