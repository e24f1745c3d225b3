"""Denoising: a task beside the main one, which teaches a network the surroundings of the labelled structures."""

import math
from typing import Any

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn

from ..conv import attention_layer
from ..nn import Linear
from ..o3 import Blocks, SphericalHarmonics, count, unit_and_length
from .config import EquiformerConfig


class Denoising(nn.Module):
    r"""Find the noise on positions from the features of a network: Noisy Nodes, and DeNS with forces encoded.

    .. math:: \hat\epsilon_i = \mathrm{Attn}(h)_i, \qquad
        h^0_i \mathrel{+}= W \, \frac{|f_i|}{\sqrt 3} \, Y(\hat f_i) \quad \text{where atom } i \text{ was moved}

    With the forces of the structure before the noise as an input there is one structure to go back to, whether or
    not it was at rest. The network is not changed, and goes without this module after training.

    Papers: Noisy Nodes (arXiv 2106.07971), DeNS (arXiv 2403.09549).

    Args:
        config: of the network.
        encode_forces: whether `embed` is used.

    Shapes:
        `features` and `edges` as `Equiformer` and `EnergyForces` give them with `return_features=True` → the noise
        [N, 3], in a unit of the caller's choice.

    Raises:
        ValueError: if harmonics or heads have no vectors.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> network = Equiformer.from_preset("small", num_layers=1)
        >>> denoising = Denoising(network.config, encode_forces=True)
        >>> moved = torch.tensor([True, True, False])
        >>> embedding = denoising.embed(torch.randn(3, 3), moved)
        >>> z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3)
        >>> energy, features = network(z, pos, node_embedding=embedding, return_features=True)
        >>> denoising(features.nodes, features.edges).shape
        torch.Size([3, 3])
    """

    def __init__(self, config: EquiformerConfig, *, encode_forces: bool) -> None:
        super().__init__()
        vector = config.vector
        for name in ("irreps_sh", "irreps_head"):
            if count(Irreps(getattr(config, name)), vector) == 0:
                raise ValueError(f"denoising needs {vector} in {name}, got {getattr(config, name)}")
        self.config, self.encode_forces = config, bool(encode_forces)
        # As the config says of messages: in the irreps of the blocks, also where the features are scalars only.
        settings = config.attention_settings()
        settings["irreps_pre_attn"] = config.irreps_pre_attn or config.irreps
        self.attn = attention_layer(config.irreps_feature, irreps_out=Irreps([(1, Irrep(vector))]), **settings)
        if self.encode_forces:
            self.harmonics = SphericalHarmonics(config.irreps_sh)
            self.lin = Linear(config.irreps_sh, config.irreps, bias=False)

    def reset_parameters(self) -> None:
        self.attn.reset_parameters()
        if self.encode_forces:
            self.lin.reset_parameters()

    def embed(self, forces: Tensor, mask: Tensor) -> Blocks:
        """Return what forces add to the first features of a network, its `node_embedding`.

        Args:
            forces: [N, 3], in a unit in which they are of order one.
            mask: which atoms show theirs [N], bool; the others get zeros, whatever stands in their rows.

        Raises:
            ValueError: for other shapes, or without `encode_forces`.
        """
        if not self.encode_forces:
            raise ValueError("forces cannot be embedded: make Denoising with encode_forces=True")
        if forces.dim() != 2 or forces.shape[1] != 3:
            raise ValueError(f"forces must have shape [N, 3], got {list(forces.shape)}")
        if mask.shape != forces.shape[:1] or mask.dtype != torch.bool:
            raise ValueError(f"mask must hold {forces.shape[0]} bools, got {list(mask.shape)} of {mask.dtype}")
        forces = torch.where(mask.unsqueeze(1), forces, 0.0).to(next(self.lin.parameters()).dtype)
        unit, length = unit_and_length(forces)
        encoded = length.unsqueeze(1) / math.sqrt(3) * self.harmonics.of_unit(unit)
        return self.lin.blocks(self.lin.layout_in.split(encoded))

    def forward(self, features: Blocks, edges: dict[str, Any]) -> Tensor:
        # e3nn's degree-1 components are those of the vector itself, as in `VectorHead`.
        out: Tensor = self.attn(features, **edges)[0].squeeze(2)
        return out.to(features[0].dtype)
