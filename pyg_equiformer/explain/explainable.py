"""`Explainable`: a model in the form that PyG's explainers take."""

import copy
from typing import Any

from torch import Tensor, nn

from ..models.features import add_blocks
from ..models.inputs import GraphInputs
from .graph import network_of, ordered_inputs


class Explainable(nn.Module):
    r"""A network as a function of the first features of its atoms and of its edges, as `torch_geometric.explain` asks.

    .. math:: y = f(x, E), \qquad x_i = \mathrm{embed}(z_i)

    An edge mask multiplies the messages of all layers, that of the edge-degree embedding among them (after the
    softmax, as explainers do it everywhere in PyG); a node mask multiplies x. Positions stay as they are.

    Args:
        model: `Equiformer`, `EnergyForces` or `PropertyModel`. What is explained is the output of the network, of order
            one, without scale, shift and reference energies, for which the explainers' own settings are made. A copy
            is used, without dropout and without gradients of its weights; the model itself is left as it is.

    Shapes:
        x [N, irreps.dim], edge_index [2, E] and what `arguments` gives besides → as the network, [B, outputs] for
        properties of structures (`task_level="graph"`), [N, outputs] for those of atoms (`"node"`).

    Raises:
        ValueError: for another model, or one with reversible blocks, through which no gradient flows to masks.

    Example:
        >>> import torch
        >>> from torch_geometric.explain import Explainer, GNNExplainer
        >>> from pyg_equiformer import Equiformer
        >>> model = Explainable(Equiformer.from_preset("small", num_layers=1))
        >>> task = {"mode": "regression", "task_level": "graph", "return_type": "raw"}
        >>> masks = {"edge_mask_type": "object", "node_mask_type": "object"}
        >>> explainer = Explainer(model, GNNExplainer(epochs=2), "model", model_config=task, **masks)
        >>> x, edge_index, rest = model.arguments(torch.tensor([8, 1, 1]), torch.eye(3))
        >>> explanation = explainer(x, edge_index, **rest)
        >>> explanation.edge_mask.shape, explanation.node_mask.shape
        (torch.Size([6]), torch.Size([3, 1]))
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        network = copy.deepcopy(network_of(model))
        if network.config.reversible:
            raise ValueError("no gradient flows to masks through reversible blocks, expected reversible=False")
        network.set_compile(False)
        network.set_checkpoint("none")
        self.network = network.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Explainable":
        """Stay in evaluation mode: explainers switch modes, and dropout is no part of what is explained."""
        return super().train(False)

    def arguments(
        self, z: Any, pos: Tensor | None = None, batch: Tensor | None = None, **edges: Tensor | None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return x, edge_index and the rest of the arguments for structures, as an explainer is called with them.

        Args:
            z, pos, batch, **edges: as in `Equiformer`, or a `Data` or `Batch` in place of z.

        Raises:
            ValueError: as the network does.
        """
        inputs = ordered_inputs(self.network, z, pos, batch, **edges)
        assert inputs.edge_index is not None  # found if they were not given
        names = ("z", "pos", "batch", "edge_attr", "edge_shift", "edge_type", "node_position", "node_attr")
        rest = {name: getattr(inputs, name) for name in names if getattr(inputs, name) is not None}
        embed = self.network.embed
        return embed.layout_out.join(embed(inputs.z)).detach(), inputs.edge_index, rest

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        *,
        z: Tensor,
        pos: Tensor,
        batch: Tensor,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_type: Tensor | None = None,
        node_position: Tensor | None = None,
        node_attr: Tensor | None = None,
    ) -> Tensor:
        given: dict[str, Any] = {"edge_type": edge_type, "node_position": node_position, "node_attr": node_attr}
        inputs = GraphInputs(
            z, pos, batch, int(batch.max()) + 1, edge_index, edge_attr, edge_shift, prepared=True, **given
        )
        embed = self.network.embed
        instead = add_blocks(embed.layout_out.split(x), [-b for b in embed(z)], embed.layout_out)
        out: Tensor = self.network(inputs, node_embedding=instead)
        return out
