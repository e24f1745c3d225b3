"""Attention weights of whole models: every layer, head and edge."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..conv import EquiformerConv
from ..models.compiled import CompilesParts
from .graph import network_of, ordered_inputs


@dataclass(frozen=True)
class LayerAttention:
    """What one layer attended to, in one call.

    Attributes:
        name: of the layer in its model, such as "blocks.0.attn".
        edge_index: [2, E], sources j and targets i.
        alpha: [E, heads], which add up to 1 over the edges of each target (with `attend_self` together with the
            target's own share); [E, types, heads] for attention="distance", which has a softmax for each type.
    """

    name: str
    edge_index: Tensor
    alpha: Tensor

    def of_heads(self) -> Tensor:
        """Return the weights [E, heads], those of several types averaged."""
        return self.alpha if self.alpha.dim() == 2 else self.alpha.mean(dim=1)


@dataclass(frozen=True)
class AttentionMaps:
    """What all layers of a network attended to.

    Attributes:
        names: of the layers [L].
        edge_index: [2, E], sources j and targets i.
        edge_vec: from target to source [E, 3] in Å, which tells periodic images apart.
        alpha: [L, E, heads], or [L, E, types, heads] for attention="distance".
    """

    names: tuple[str, ...]
    edge_index: Tensor
    edge_vec: Tensor
    alpha: Tensor

    def __iter__(self) -> Iterator[LayerAttention]:
        return (LayerAttention(n, self.edge_index, a) for n, a in zip(self.names, self.alpha))

    def __len__(self) -> int:
        return len(self.names)


@contextmanager
def recorded_attention(model: nn.Module) -> Iterator[list[LayerAttention]]:
    """Collect the attention of each `EquiformerConv` in a model, call by call, while it is entered.

    It works for every module with such layers: networks, potentials, committees, `EquiFold`, denoisers, your own.
    Layers return what they always return; without it, they give away nothing and keep nothing. Compiled networks run
    uncompiled meanwhile. Where gradients make a layer run once more (checkpoint="block", reversible blocks), that is
    one more call.

    Args:
        model: any module.

    Raises:
        ValueError: if it has no such layer.

    Example:
        >>> from pyg_equiformer import EnergyForces, Equiformer
        >>> model = EnergyForces(Equiformer.from_preset("small", num_layers=2))
        >>> with recorded_attention(model) as layers:
        ...     _ = model(torch.tensor([8, 1, 1]), torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]]))
        >>> [(layer.name, tuple(layer.alpha.shape)) for layer in layers]
        [('model.blocks.0.attn', (6, 4)), ('model.blocks.1.attn', (6, 4))]
    """
    convs = [(name, part) for name, part in model.named_modules() if isinstance(part, EquiformerConv)]
    if not convs:
        raise ValueError(f"expected a model with EquiformerConv layers, got {type(model).__name__} without any")
    found: list[LayerAttention] = []
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, CompilesParts) and getattr(module, "compile_blocks", False):
                stack.callback(setattr, module, "compile_blocks", True)
                setattr(module, "compile_blocks", False)  # noqa: B010  (nn.Module's attributes are tensors to mypy)
        for name, conv in convs:
            for handle in _listen(name, conv, found):
                stack.callback(handle.remove)
        yield found


def _listen(name: str, conv: EquiformerConv, found: list[LayerAttention]) -> list[Any]:
    asked: list[bool] = []

    def ask(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        asked.append(bool(kwargs.get("return_attention_weights", False)))
        return args, {**kwargs, "return_attention_weights": True}

    def keep(_: nn.Module, args: Any, output: Any) -> Any:
        out, told = output
        if isinstance(told, tuple):
            edge_index, alpha = told
        else:  # a SparseTensor, whose order is that of its `coo`
            row, col, alpha = told.coo()
            edge_index = torch.stack([col, row])
        found.append(LayerAttention(name, torch.as_tensor(edge_index).detach(), alpha.detach()))
        return output if asked.pop() else out

    return [conv.register_forward_pre_hook(ask, with_kwargs=True), conv.register_forward_hook(keep)]


@torch.no_grad()
def attention_maps(
    model: nn.Module, z: Any, pos: Tensor | None = None, batch: Tensor | None = None, **edges: Tensor | None
) -> AttentionMaps:
    r"""Return the attention weights of every layer, head and edge for structures.

    .. math:: \alpha_{ij}^{(l, h)}, \qquad \sum_j \alpha_{ij}^{(l, h)} = 1

    Args:
        model: `Equiformer`, `EnergyForces` or `PropertyModel`; it is evaluated without dropout and left as it is.
        z, pos, batch, **edges: as in `Equiformer`: atomic numbers [N], positions [N, 3] in Å, graphs [N]; or a `Data`
            or `Batch` in place of z.

    Raises:
        ValueError: for another model, or as the model itself.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> z, pos = torch.tensor([8, 1, 1]), torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]])
        >>> maps = attention_maps(Equiformer.from_preset("small", num_layers=2), z, pos)
        >>> maps.names, maps.alpha.shape
        (('blocks.0.attn', 'blocks.1.attn'), torch.Size([2, 6, 4]))
    """
    network = network_of(model)
    inputs = ordered_inputs(network, z, pos, batch, **edges)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with recorded_attention(network) as layers:
            network(inputs)
    finally:
        for module, mode in modes:
            module.training = mode
    assert inputs.edge_index is not None  # found if they were not given
    source, target = inputs.edge_index
    vec = inputs.pos[source] - inputs.pos[target]
    vec = vec if inputs.edge_shift is None else vec + inputs.edge_shift
    names, alpha = tuple(layer.name for layer in layers), torch.stack([layer.alpha for layer in layers])
    return AttentionMaps(names, inputs.edge_index, vec, alpha)
