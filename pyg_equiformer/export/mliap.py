"""Potentials for LAMMPS's ML-IAP unified interface, in which each process sees its own atoms and their ghosts."""

import copy
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints import atomic_write, find_model, load_model, model_content, model_from_content, read_extra
from ..elements import symbol
from ..models import EnergyForces, Ensemble
from ..models.ensemble import potentials_of
from ..models.heads import AttentionHead
from ..models.inputs import GraphInputs
from ..models.prepare import prepare_edges, worth_chunks
from ..models.references import atomic_references
from .ghosts import fill_ghosts
from .package import DtypeKind, check_dtype, check_elements, refuse_further_inputs

SUFFIX = ".pkl"


class MliapPotential:
    r"""A potential in any number of processes of LAMMPS: what `pair_style mliap unified` calls in every step.

    .. math:: E = \sum_i E_i, \qquad f_{ij} = \frac{\partial E}{\partial r_{ij}}, \qquad F_i = \sum_j f_{ij} - f_{ji}

    LAMMPS finds the neighbours. Before each layer the ghosts get the features of their owners, and in the gradients
    the owners get those of their ghosts, so that a process needs ghosts within one cutoff, however many layers there
    are. That exchange is part of LAMMPS's KOKKOS package since 2025: start it with `lmp -k on -sf kk`, with `units
    metal`, and where LAMMPS runs, this package must be installed.

    Args:
        potential: `EnergyForces`, or an `Ensemble` of such, whose mean counts. It is copied.
        elements: atomic numbers that may occur; None: all that the model knows.

    Attributes:
        element_types: their symbols, which `pair_coeff` gives to LAMMPS's atom types.

    Raises:
        ValueError: for models of other outputs or with further inputs, unknown elements, or what a process cannot know
            by its own atoms: norms over graphs, attention among all atoms, reversible blocks, and constants per
            structure.

    Example:
        >>> from pyg_equiformer import Equiformer
        >>> potential = MliapPotential(EnergyForces(Equiformer.from_preset("small")), [1, 8])
        >>> potential.element_types
        ['H', 'O']
        >>> potential.save("water.pkl")  # doctest: +SKIP

        and in the input of LAMMPS, for types 1 (hydrogen) and 2 (oxygen)::

            pair_style mliap unified water.pkl 0
            pair_coeff * * H O
    """

    ndescriptors = nparams = 1  # LAMMPS asks, but a unified model has neither

    def __init__(self, potential: EnergyForces | Ensemble, elements: Sequence[int] | None = None) -> None:
        members = potentials_of(potential)
        refuse_further_inputs(members)
        for member in members:
            _refuse_what_is_not_local(member)
        self.elements = check_elements(members, elements)
        self.element_types = [symbol(z) for z in self.elements]
        self.rcutfac = float(members[0].config.cutoff) / 2  # of each of two atoms
        self.potential = copy.deepcopy(potential).eval().requires_grad_(False)
        self.interface: Any = None  # LAMMPS leaves itself here
        self._data: Any = None
        for member in potentials_of(self.potential):
            member.model.set_compile(False)
            member.model.set_checkpoint("none")
            heads = [member.model.head] if isinstance(member.model.head, AttentionHead) else []
            for part in (*member.model.blocks, *heads):
                part.register_forward_pre_hook(self._with_ghosts)

    def save(self, path: str | Path) -> None:
        """Write the file for `pair_style mliap unified`, whole or not at all.

        Raises:
            ValueError: if the path does not end in .pkl.
            OSError: if it cannot be written.
        """
        path = Path(path)
        if path.suffix != SUFFIX:
            raise ValueError(f"expected a file that ends in {SUFFIX}, got {str(path)!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, pickle.dumps(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (model_content(self.potential, {}), self.elements)

    def compute_gradients(self, data: Any) -> None:
        """Do nothing: LAMMPS calls it in every step, for models whose descriptors it knows."""

    def compute_descriptors(self, data: Any) -> None:
        """Do nothing, see `compute_gradients`."""

    def compute_forces(self, data: Any) -> None:
        """Give energy, energies of atoms, and pair forces of this process to LAMMPS.

        Raises:
            RuntimeError: if LAMMPS cannot exchange features.
            ValueError: for positions that are not finite.
        """
        if not hasattr(data, "forward_exchange"):
            raise RuntimeError(
                "this LAMMPS does not exchange features between atoms and their ghosts: run `lmp -k on -sf kk`, "
                "of 2025 or newer, built with KOKKOS, ML-IAP and PYTHON"
            )
        self._data = data
        try:
            energies, pair_forces = self._evaluate(data)
        finally:
            self._data = None
        data.energy = float(energies.sum())
        if energies.shape[0]:
            torch.as_tensor(data.eatoms).copy_(energies)
        if pair_forces.shape[0]:
            data.update_pair_forces(pair_forces if pair_forces.is_cuda else pair_forces.numpy())

    def _evaluate(self, data: Any) -> tuple[Tensor, Tensor]:
        """Return energies of listed atoms in eV and gradients by the pair vectors [E, 3] in eV/Å, float64."""
        elems = _tensor(data.elems)  # -1 for types without an element, which no pair has
        device = elems.device
        z = torch.tensor(self.elements, device=device)[elems.long().clamp(min=0)]
        own = _tensor(data.iatoms)[: data.nlistatoms].long().to(device)
        pairs = [_tensor(side).long().to(device) for side in (data.pair_j, data.pair_i)]
        vectors = _tensor(data.rij).double().view(-1, 3).to(device).clone()
        if not bool(vectors.isfinite().all()):
            raise ValueError("expected finite positions, but LAMMPS has pairs of atoms with vectors that are not")
        members = potentials_of(self.potential.to(device))
        each = [self._one(member, z, torch.stack(pairs), vectors, own) for member in members]
        energies, gradients = (torch.stack(values).mean(0) for values in zip(*each))
        return energies, gradients

    def _one(self, member: EnergyForces, z: Tensor, edge_index: Tensor, vectors: Tensor, own: Tensor) -> Any:
        like = next(member.parameters())
        with torch.enable_grad():
            # Only differences count: all atoms lie at one place, and the shifts are the vectors between them.
            shift = vectors.to(like.dtype).requires_grad_()
            batch, pos = torch.zeros_like(z), shift.new_zeros(z.shape[0], 3)
            inputs = GraphInputs(z, pos, batch, 1, edge_index, None, shift)
            inputs = prepare_edges(inputs, member.config)
            inputs = inputs._replace(chunked=worth_chunks(inputs))
            _, shares = member.model(inputs, return_shares=True)
            energies = member.energy_scale * shares.squeeze(1)[own]
            (gradient,) = torch.autograd.grad(energies.sum(), [shift])
        energies = energies.detach().double()
        if member.atomic_energies is not None:
            energies = energies + atomic_references(z[own], member.atomic_energies, "atomic energy")
        return energies, gradient.double()

    def _with_ghosts(self, part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return fill_ghosts(args[0], self._data), *args[1:]


def _tensor(array: Any) -> Tensor:
    """Return an array of LAMMPS, which shares its memory; None stands for arrays without an entry."""
    return torch.empty(0) if array is None else torch.as_tensor(array)


def export_mliap(run: str | Path, path: str | Path, *, dtype: DtypeKind | None = None) -> list[str]:
    """Write the model of a training run to a file for `pair_style mliap unified`, see `MliapPotential`.

    Args:
        run: folder of the run, a committee's too, its `model.pt`, another file of `save_model`, or a shared model.
        path: new file, which ends in .pkl.
        dtype: of the network, "float32" or "float64"; None: that of the model.

    Returns:
        the symbols of the elements, those that the model was trained on.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: as `MliapPotential`.
        OSError: if the file cannot be written.
    """
    check_dtype(dtype)
    file = find_model(run)
    model = load_model(file)
    if dtype is not None:
        for member in potentials_of(model):
            member.model.to(getattr(torch, dtype))
    potential = MliapPotential(model, read_extra(file).get("elements") or None)
    potential.save(path)
    return potential.element_types


def _restored(content: Mapping[str, Any], elements: Sequence[int]) -> MliapPotential:
    """Return what was pickled; files of a newer format of models are refused."""
    return MliapPotential(model_from_content("the file of the potential", content), elements)


def _refuse_what_is_not_local(member: EnergyForces) -> None:
    """Raise a ValueError for what needs all atoms of a structure in one place."""
    config = member.config
    wrong = {
        f"norm={config.norm!r}": config.norm in ("graph", "instance"),
        f"linear_attention_heads={config.linear_attention_heads}": config.linear_attention_heads > 0,
        "reversible=True": config.reversible,
        f"energy_shift={member.energy_shift}": member.energy_shift != 0,
        f"output_mean={config.output_mean}": config.output_mean != 0,
    }
    if found := [name for name, there in wrong.items() if there]:
        raise ValueError(
            f"processes of LAMMPS know their own atoms alone, this model needs whole structures: {', '.join(found)}; "
            "take LammpsPotential, or train without (reference energies of the elements in place of a shift)"
        )
