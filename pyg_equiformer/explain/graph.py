"""Inputs of a network with edges in an order that the caller knows."""

from typing import Any

from torch import Tensor, nn

from ..models import EnergyForces, Equiformer, PropertyModel
from ..models.geometry import check_positions
from ..models.inputs import GraphInputs, collect_inputs
from ..neighbors import radius_graph


def network_of(model: nn.Module) -> Equiformer:
    """Return the network of a model.

    Raises:
        ValueError: if it has not exactly one.
    """
    network = model.model if isinstance(model, (EnergyForces, PropertyModel)) else model
    if not isinstance(network, Equiformer):
        raise ValueError(
            "expected an Equiformer, EnergyForces or PropertyModel (of an Ensemble, one of its .models), got "
            f"{type(model).__name__}"
        )
    return network


def ordered_inputs(
    network: Equiformer, z: Any, pos: Tensor | None = None, batch: Tensor | None = None, **edges: Tensor | None
) -> GraphInputs:
    """Return the inputs of a network, whose edges stay in the order they have: the given one, or by target and source.

    A network left to itself puts the edges of both directions behind each other, to do half of the work.

    Args:
        network: asked for its cutoff and what else it takes.
        z, pos, batch, **edges: as in `Equiformer`.

    Raises:
        ValueError: as the network does.
    """
    index, attr, shift = (edges.pop(name, None) for name in ("edge_index", "edge_attr", "edge_shift"))
    rest: dict[str, Any] = edges
    inputs = collect_inputs(z, pos, batch, index, attr, shift, network.config, **rest)
    check_positions(inputs.pos)
    if inputs.edge_index is None:
        inputs = inputs._replace(edge_index=radius_graph(inputs.pos, network.config.cutoff, inputs.batch))
    return inputs._replace(prepared=True)
