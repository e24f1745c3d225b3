"""Stress: the derivative of the energy by the strain, over the volume."""

import torch
from torch import Tensor

from .inputs import GraphInputs


def check_cells(inputs: GraphInputs) -> Tensor:
    """Return the cells [B, 3, 3] in Å.

    Raises:
        ValueError: if there are none, or not one per graph.
    """
    if inputs.cell is None:
        raise ValueError(
            "stress needs the cell: call the model with data that has cell [1, 3, 3] in Å, or with cell=[B, 3, 3], or "
            "make the model with stress=False"
        )
    if inputs.cell.shape != (inputs.num_graphs, 3, 3):
        raise ValueError(f"cell must have shape {[inputs.num_graphs, 3, 3]}, got {list(inputs.cell.shape)}")
    return inputs.cell.to(inputs.pos)


def no_strain(inputs: GraphInputs) -> Tensor:
    """Return the strain zero of each graph [B, 3, 3]."""
    return inputs.pos.new_zeros(inputs.num_graphs, 3, 3)


def with_strain(inputs: GraphInputs, strain: Tensor) -> GraphInputs:
    r"""Return the inputs under a strain, to which a gradient flows.

    .. math:: x_i \to x_i (1 + \tfrac{1}{2}(\epsilon + \epsilon^T)), \qquad s_{ij} \to s_{ij} (1 + \ldots)

    Args:
        inputs: positions [N, 3] and shifts of the edges [E, 3] in Å.
        strain: ε [B, 3, 3].
    """
    symmetric = (strain + strain.transpose(1, 2)) / 2

    def deform(x: Tensor, graph: Tensor) -> Tensor:
        return x + (x.unsqueeze(1) @ symmetric.index_select(0, graph)).squeeze(1)

    shift = inputs.edge_shift
    if shift is not None:
        assert inputs.edge_index is not None  # checked with the inputs
        shift = deform(shift, inputs.batch.index_select(0, inputs.edge_index[1]))
    return inputs._replace(pos=deform(inputs.pos, inputs.batch), edge_shift=shift)


def stress_from_strain(gradient: Tensor, cell: Tensor) -> Tensor:
    """Return the stress [B, 3, 3] in eV/Å³ from the derivative by the strain [B, 3, 3] in eV; NaN without a volume.

    Example:
        >>> stress_from_strain(torch.eye(3).unsqueeze(0), 2 * torch.eye(3).unsqueeze(0))[0, 0]
        tensor([0.1250, 0.0000, 0.0000])
    """
    volume = torch.linalg.det(cell).abs().view(-1, 1, 1)
    there = volume > 0
    return torch.where(there, gradient / torch.where(there, volume, 1.0), torch.nan)
