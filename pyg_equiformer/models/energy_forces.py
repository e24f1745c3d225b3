"""Energies, forces and stress from a network that gives energies."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..kernels import segment_sum
from ..o3 import Blocks
from .compiled import CompilesParts
from .equiformer import Equiformer
from .features import Features
from .inputs import GraphInputs, collect_inputs
from .precision import products_in
from .prepare import prepare_edges, tell_sizes, worth_chunks
from .pretrained import Pretrained
from .references import atomic_references, check_references
from .shares import equal_shares
from .stress import check_cells, no_strain, stress_from_strain, with_strain


class Wanted(NamedTuple):
    """What a call is asked for beside energy and forces."""

    stress: bool
    per_atom: bool


class EnergyForces(Pretrained, CompilesParts):
    r"""Energy, forces as its exact negative gradient, and on request stress as its derivative by the strain.

    .. math:: E = s \cdot \mathrm{model}(z, x) + t + \sum_i e_{z_i}, \qquad F_i = -\frac{\partial E}{\partial x_i},
        \qquad \sigma = \frac{1}{V} \frac{\partial E}{\partial \epsilon}

    Forces and stress are differentiable once more while gradients are enabled, so that a loss on them trains the
    network; under `torch.no_grad()` or `torch.inference_mode()` they cost no graph, and on large structures (on a CPU
    from 32,768 edges) nothing of the edges is stored either: memory is that of the atoms.

    Args:
        model: an `Equiformer` with one graph scalar.
        energy_scale: s, eV per unit of the network's output.
        energy_shift: t in eV.
        atomic_energies: :math:`e_z` in eV, by atomic number. None: 0.
        stress: whether to return the stress too, of a symmetric strain of atoms and cell, in ASE's sign (positive
            under tension).

    Shapes:
        as in `Equiformer`; the stress needs cell [B, 3, 3] in Å → {"energy": [B] in
        eV, "forces": [N, 3] in eV/Å, "stress": [B, 3, 3] in eV/Å³}. The energy is float64 where reference energies
        are added: totals of thousands of eV have no room for meV in float32. The stress is NaN where a cell has no
        volume (molecules, slabs without a third vector). With `return_features=True` also "features" and "edges", see
        `Features`; with `per_atom=True` also "energies" [N] in eV, what each atom adds to the energy, of which the
        shift is shared by all atoms alike. `stress=True` or `False` at the call goes before that of the module.

    Raises:
        ValueError: if the model's output is not one graph scalar, an element has no atomic energy, or the stress is
            asked for without a cell.

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
        stress: bool = False,
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
        check_references(self.atomic_energies or {}, "atomic_energies")
        self.stress = bool(stress)

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
        edge_type: Tensor | None = None,
        node_position: Tensor | None = None,
        node_attr: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        node_embedding: Blocks | None = None,
        return_features: bool = False,
        stress: bool | None = None,
        per_atom: bool = False,
    ) -> dict[str, Any]:
        wanted = Wanted(self.stress if stress is None else bool(stress), per_atom)
        extras: dict[str, Any] = {"edge_type": edge_type, "node_position": node_position, "node_attr": node_attr}
        extras |= {"pbc": pbc}
        inputs = collect_inputs(z, pos, batch, edge_index, edge_attr, edge_shift, self.model.config, cell, **extras)
        keep_graph = torch.is_grad_enabled()
        if torch.is_inference_mode_enabled():
            keep_graph = False
            with torch.inference_mode(False):  # inference tensors cannot enter a graph, their copies can
                copies: list[Any] = [v.clone() if isinstance(v, Tensor) else v for v in inputs]
                inputs = GraphInputs(*copies)
                node_embedding = None if node_embedding is None else [b.clone() for b in node_embedding]
        cells = check_cells(inputs) if wanted.stress else None
        compiles = self.model.compile_blocks and not return_features and not torch.compiler.is_compiling()
        with torch.inference_mode(False):
            # Neighbours are found before the strain, which their shifts follow.
            inputs = prepare_edges(inputs, self.model.config, for_compiler=self.model.compile_blocks)
            if compiles:
                features = None
                products_in(self.model.precision, inputs.pos.device)  # outside of the graph, which cannot set it
                energy, shares, *gradients = self.compiled(self._gradients)(inputs, node_embedding, *wanted)
            else:
                if not keep_graph and not return_features and not self.config.reversible:
                    inputs = inputs._replace(chunked=worth_chunks(inputs))
                energy, shares, gradients, features = self._by_autograd(
                    inputs, node_embedding, return_features, keep_graph, wanted
                )
        energy = energy if keep_graph else energy.detach()
        reference = self.reference_energy(inputs.z, inputs.batch, energy.shape[0])
        if reference is not None:
            energy = energy.double() + reference
        values: dict[str, Any] = {"energy": energy, "forces": -gradients[0]}
        if wanted.stress:
            assert cells is not None  # checked above
            values["stress"] = stress_from_strain(gradients[1], cells)
        if per_atom:
            values["energies"] = self._with_references(shares if keep_graph else shares.detach(), inputs)
        if features is not None:
            features = features if keep_graph else features.detach()
            values |= {"features": features.nodes, "edges": features.edges}
        return values

    def _by_autograd(
        self,
        inputs: GraphInputs,
        node_embedding: Blocks | None,
        return_features: bool,
        keep_graph: bool,
        wanted: Wanted,
    ) -> tuple[Tensor, Any, Sequence[Tensor], Features | None]:
        """Return energy, shares of the atoms, gradients by positions and strain, and features."""
        with torch.enable_grad():
            x = inputs.pos if inputs.pos.requires_grad and keep_graph else inputs.pos.detach().requires_grad_()
            varied, variables = inputs._replace(pos=x), [x]
            if wanted.stress:
                variables.append(no_strain(inputs).requires_grad_())
                varied = with_strain(varied, variables[1])
            energy, shares, features = self._energy(varied, node_embedding, return_features, wanted.per_atom)
            return energy, shares, torch.autograd.grad(energy.sum(), variables, create_graph=keep_graph), features

    def _gradients(
        self, inputs: GraphInputs, node_embedding: Blocks | None, stress: bool, per_atom: bool
    ) -> tuple[Any, ...]:
        """Return energy, shares, and gradients by positions and strain, in a form that one graph can hold."""
        tell_sizes(inputs)

        def total(pos: Tensor, strain: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            varied = inputs._replace(pos=pos)
            varied = with_strain(varied, strain) if stress else varied
            energy, shares, _ = self._energy(varied, node_embedding, False, per_atom)
            return energy.sum(), (energy, shares) if per_atom else (energy,)  # tensors only, as is asked of both

        by = (0, 1) if stress else (0,)
        gradients, told = torch.func.grad(total, argnums=by, has_aux=True)(inputs.pos, no_strain(inputs))
        return told[0], told[1] if per_atom else None, *gradients

    def _energy(
        self, inputs: GraphInputs, node_embedding: Blocks | None, return_features: bool, per_atom: bool
    ) -> tuple[Tensor, Any, Features | None]:
        """Return the network's energies [B], what atoms add to them [N] and its features, as far as they are wanted."""
        told = {"node_embedding": node_embedding, "return_features": return_features, "return_shares": per_atom}
        if inputs.chunked:  # weights without gradients: what is computed again is the gradient by positions alone
            weights = {name: p.detach() for name, p in self.model.named_parameters()}
            out = torch.func.functional_call(self.model, weights, (inputs,), told)
        else:
            out = self.model(inputs, **told)
        out, *more = out if return_features or per_atom else (out,)
        shares = self.energy_scale * more[-1].squeeze(1) if per_atom else None
        return self.energy_scale * out.squeeze(1), shares, more[0] if return_features else None

    def _with_references(self, shares: Tensor, inputs: GraphInputs) -> Tensor:
        """Return energies of atoms [N], shift and atomic energies included."""
        if self.atomic_energies is None and self.energy_shift == 0:
            return shares
        energies = shares.double()
        energies = energies + self.energy_shift * equal_shares(inputs.batch, inputs.num_graphs, energies)
        if self.atomic_energies is None:
            return energies
        return energies + atomic_references(inputs.z, self.atomic_energies, "atomic energy")

    def reference_energy(self, z: Tensor, batch: Tensor, num_graphs: int) -> Tensor | None:
        """Return shift and atomic energies summed per graph [B] in eV, float64; None if there are none."""
        if self.atomic_energies is None and self.energy_shift == 0:
            return None
        total = torch.full((num_graphs,), self.energy_shift, dtype=torch.float64, device=z.device)
        if self.atomic_energies is None:
            return total
        return total + segment_sum(atomic_references(z, self.atomic_energies, "atomic energy"), batch, num_graphs)

    def extra_repr(self) -> str:
        return f"energy_scale={self.energy_scale:.6g} eV, energy_shift={self.energy_shift:.6g} eV, stress={self.stress}"
