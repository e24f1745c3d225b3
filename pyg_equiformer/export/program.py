"""The program of an exported model: energy, forces and stress from plain tensors, in PyTorch's own operators alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as fx_config
from torch.fx.experimental.proxy_tensor import make_fx

from ..kernels import NeighborTable, segment_sum
from ..models import EnergyForces
from ..models.inputs import GraphInputs
from ..models.references import MAX_Z
from ..models.stress import no_strain, with_strain
from ..neighbors import radius_graph

#: Names of the tensors that a program takes and returns, in order; a committee returns the spreads after the means.
INPUTS = ("z", "pos", "edge_index", "edge_shift", "cell", "batch")
OUTPUTS = ("energy", "forces", "stress")


class ProgramInputs(NamedTuple):
    """What a program takes: N atoms, E edges, B structures, in any order; see `export_model`."""

    z: Tensor
    pos: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    cell: Tensor
    batch: Tensor


class Program:
    r"""A function of plain tensors, without a branch that depends on their values, for one or several potentials.

    An atom in a graph of its own, with an edge to itself, is added and taken off again: programs then never meet
    empty tensors, whatever they are given.

    Args:
        members: potentials with one cutoff, in evaluation mode.
        elements: atomic numbers that all members know; results with other elements are NaN.
    """

    def __init__(self, members: Sequence[EnergyForces], elements: Sequence[int]) -> None:
        self.members, self.cutoff = list(members), float(members[0].config.cutoff)
        self.like = next(p for p in members[0].parameters() if p.is_floating_point()).detach()
        self.elements = tuple(elements)
        self.spare = elements[0]  # of the added atom, and in place of atoms that are not known
        self.known = torch.zeros(MAX_Z, dtype=torch.bool, device=self.like.device)
        self.known[list(elements)] = True
        self.references = [_references(member, self.like.device) for member in members]

    def __call__(
        self, z: Tensor, pos: Tensor, edge_index: Tensor, edge_shift: Tensor, cell: Tensor, batch: Tensor
    ) -> tuple[Tensor, ...]:
        atoms, graphs = z.shape[0], cell.shape[0]
        known = self.known[z.clamp(0, MAX_Z - 1)] & (z >= 0) & (z < MAX_Z)
        blot = segment_sum(torch.where(known, 0.0, torch.nan).to(pos.dtype), batch, graphs)  # NaN or 0 by structure
        given = ProgramInputs(torch.where(known, z, self.spare), pos, edge_index, edge_shift, cell, batch)
        inputs = self._padded(given)
        each = list(zip(*(self._one(*pair, inputs) for pair in zip(self.members, self.references))))
        energy = torch.stack(each[0])[:, :graphs] + blot
        forces = torch.stack(each[1])[:, :atoms] + blot[batch].unsqueeze(1)
        stress = torch.stack(each[2])[:, :graphs] / _volume(cell) + blot.view(-1, 1, 1)
        if len(self.members) == 1:
            return energy[0], forces[0], stress[0]
        return tuple(v.mean(0) for v in (energy, forces, stress)) + tuple(_spread(v) for v in (energy, forces, stress))

    def _padded(self, given: ProgramInputs) -> GraphInputs:
        """Return the inputs of a network, with one more atom in one more graph."""
        z, pos, edge_index, edge_shift, cell, batch = given
        atoms, graphs = z.shape[0], cell.shape[0]
        edge_index = torch.cat([edge_index, edge_index.new_full((2, 1), atoms)], dim=1)
        return GraphInputs(
            z=torch.cat([z, z.new_full((1,), self.spare)]),
            pos=torch.cat([pos, pos.new_zeros(1, 3)]),
            batch=torch.cat([batch, batch.new_full((1,), graphs)]),
            num_graphs=graphs + 1,
            edge_index=edge_index,
            edge_attr=None,
            edge_shift=torch.cat([edge_shift, edge_shift.new_full((1, 3), self.cutoff / 4)]),
            table=_table(edge_index[1], atoms + 1),
            prepared=True,
        )

    @staticmethod
    def _one(model: EnergyForces, references: Tensor, inputs: GraphInputs) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies, forces and derivatives by the strain of one potential."""
        pos, strain = inputs.pos.detach().requires_grad_(), no_strain(inputs).requires_grad_()
        out = model.model(with_strain(inputs._replace(pos=pos), strain))
        energy = model.energy_scale * out.squeeze(1)
        by_pos, by_strain = torch.autograd.grad(energy.sum(), [pos, strain])
        shift = segment_sum(references[inputs.z], inputs.batch, inputs.num_graphs) + model.energy_shift
        return energy.detach().double() + shift, -by_pos, by_strain


def _references(model: EnergyForces, device: torch.device) -> Tensor:
    """Return the atomic energies [MAX_Z] in eV, float64; zero where there are none."""
    table = torch.zeros(MAX_Z, dtype=torch.float64)
    for z, energy in (model.atomic_energies or {}).items():
        table[z] = energy
    return table.to(device)


def _table(target: Tensor, atoms: int) -> NeighborTable:
    """Return the edges of each target as a table, as `kernels.neighbor_table` does, of a width found by the program.

    Compilers for several threads cannot add rows of a width they do not know; so that table tells places as well.
    """
    degree = target.new_zeros(atoms).scatter_add(0, target, torch.ones_like(target))
    width: Any = degree.amax().clamp(min=2).item()  # a symbol while the program is traced
    torch.sym_constrain_range(width, min=2)  # compilers treat an axis of one place apart
    place = torch.arange(width, device=target.device)
    first = degree.cumsum(0) - degree
    edges = first.unsqueeze(1) + place
    order, rank = torch.argsort(target, stable=True), torch.arange(target.shape[0], device=target.device)
    places = torch.empty_like(rank).scatter(0, order, rank)  # in the order of targets, then in the table
    places = target * width + places - first[target]
    return NeighborTable(order[edges.clamp(max=target.shape[0] - 1)], place < degree.unsqueeze(1), places)


def _volume(cell: Tensor) -> Tensor:
    """Return the volumes [B, 1, 1] in Å³; NaN where a cell has none."""
    volume = (cell[:, 0] * torch.linalg.cross(cell[:, 1], cell[:, 2])).sum(1).abs()
    return torch.where(volume > 0, volume, torch.nan).view(-1, 1, 1)


def _spread(each: Tensor) -> Tensor:
    """Return the population standard deviation over members, as `Ensemble` does."""
    return (each - each.mean(0)).square().mean(0).sqrt()


def example_inputs(program: Program) -> ProgramInputs:
    """Return a small batch of two structures to trace a program with; none of its sizes is fixed by that."""
    like = program.like
    side = torch.arange(12, device=like.device, dtype=like.dtype).unsqueeze(1)
    pos = (side * side.new_tensor([0.71, 0.53, 0.37])).fmod(1.0) * 0.9 * program.cutoff
    batch = (torch.arange(12, device=like.device) >= 7).long()
    edge_index = radius_graph(pos, program.cutoff, batch)
    z = torch.full_like(batch, program.spare)
    cell = (2 * program.cutoff * torch.eye(3).to(pos)).repeat(2, 1, 1)
    return ProgramInputs(z, pos, edge_index, pos.new_zeros(edge_index.shape[1], 3), cell, batch)


def trace(program: Program) -> ExportedProgram:
    """Return the program as PyTorch's operators, for any numbers of atoms, edges and structures."""
    example = tuple(example_inputs(program))
    # The gradient is made part of the program first: `torch.export` itself does not differentiate.
    with torch.compiler._compile_session_context(), fx_config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
        function = make_fx(lambda *given: program(*given), tracing_mode="symbolic", _allow_non_fake_inputs=True)
        graph = function(*example)
    any_size = Dim.DYNAMIC
    sizes = tuple({1: any_size} if name == "edge_index" else {0: any_size} for name in INPUTS)
    return torch.export.export(graph, example, dynamic_shapes=sizes, strict=False)
