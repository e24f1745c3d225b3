"""Energies and forces from a network that gives energies."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels import segment_sum
from .equiformer import Equiformer
from .inputs import GraphInputs, collect_inputs

MAX_Z = 120


class EnergyForces(nn.Module):
    r"""Energy, and forces as its exact negative gradient.

    .. math:: E = s \cdot \mathrm{model}(z, x) + t + \sum_i e_{z_i}, \qquad F_i = -\frac{\partial E}{\partial x_i}

    Forces are differentiable once more while gradients are enabled, so that a loss on forces trains the
    network; under `torch.no_grad()` or `torch.inference_mode()` they cost no graph.

    Args:
        model: an `Equiformer` with one graph scalar.
        energy_scale: s, eV per unit of the network's output.
        energy_shift: t in eV.
        atomic_energies: :math:`e_z` in eV, by atomic number. None: 0.

    Shapes:
        as in `Equiformer` → {"energy": [B] in eV, "forces": [N, 3] in eV/Å}. The energy is float64 where
        reference energies are added: totals of thousands of eV have no room for meV in float32.

    Raises:
        ValueError: if the model's output is not one graph scalar, or an element has no atomic energy.

    Example:
        >>> potential = EnergyForces(Equiformer.from_preset("small"))
        >>> out = potential(torch.tensor([8, 1, 1]), torch.randn(3, 3))
        >>> out["energy"].shape, out["forces"].shape
        (torch.Size([1]), torch.Size([3, 3]))
    """

    def __init__(
        self,
        model: Equiformer,
        *,
        energy_scale: float = 1.0,
        energy_shift: float = 0.0,
        atomic_energies: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__()
        if model.config.output != "graph_scalar" or model.config.num_outputs != 1:
            raise ValueError(
                "EnergyForces needs a model with output='graph_scalar' and num_outputs=1, got "
                f"{model.config.output!r} and {model.config.num_outputs}"
            )
        self.model = model
        self.energy_scale, self.energy_shift = float(energy_scale), float(energy_shift)
        self.atomic_energies = (
            None if atomic_energies is None else {int(z): float(e) for z, e in atomic_energies.items()}
        )

    @property
    def config(self) -> Any:
        return self.model.config

    def forward(
        self,
        z: Any,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
    ) -> dict[str, Tensor]:
        inputs = collect_inputs(z, pos, batch, edge_index, edge_attr, edge_shift, self.model.config)
        keep_graph = torch.is_grad_enabled()
        if torch.is_inference_mode_enabled():
            keep_graph = False
            with torch.inference_mode(False):  # inference tensors cannot enter a graph, their copies can
                copies: list[Any] = [v.clone() if isinstance(v, Tensor) else v for v in inputs]
                inputs = GraphInputs(*copies)
        with torch.inference_mode(False), torch.enable_grad():
            x = inputs.pos if inputs.pos.requires_grad and keep_graph else inputs.pos.detach().requires_grad_()
            values = {k: v for k, v in inputs._asdict().items() if k.startswith("edge")}
            energy = self.energy_scale * self.model(inputs.z, x, inputs.batch, **values).squeeze(1)
            (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=keep_graph)
        energy = energy if keep_graph else energy.detach()
        reference = self.reference_energy(inputs.z, inputs.batch, energy.shape[0])
        if reference is not None:
            energy = energy.double() + reference
        return {"energy": energy, "forces": -gradient}

    def reference_energy(self, z: Tensor, batch: Tensor, num_graphs: int) -> Tensor | None:
        """Return shift and atomic energies summed per graph [B] in eV, float64; None if there are none."""
        if self.atomic_energies is None and self.energy_shift == 0:
            return None
        total = torch.full((num_graphs,), self.energy_shift, dtype=torch.float64, device=z.device)
        if self.atomic_energies is None:
            return total
        table = torch.full((MAX_Z,), torch.nan, dtype=torch.float64)
        table[list(self.atomic_energies)] = torch.tensor(list(self.atomic_energies.values()), dtype=torch.float64)
        each = table.to(z.device)[z]
        if bool(each.isnan().any()):
            missing = sorted(set(z[each.isnan()].tolist()))
            raise ValueError(f"no atomic energy for Z = {missing}, only for {sorted(self.atomic_energies)}")
        return total + segment_sum(each, batch, num_graphs)

    def extra_repr(self) -> str:
        return f"energy_scale={self.energy_scale:.6g} eV, energy_shift={self.energy_shift:.6g} eV"
