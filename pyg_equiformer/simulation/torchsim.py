"""`EquiformerTorchSim`: a trained model in TorchSim, which relaxes and simulates many structures at once."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints import find_model, load_model, read_extra
from ..models import EnergyForces, Ensemble
from ..models.ensemble import potentials_of

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.state import SimState
except ImportError as error:
    raise ImportError('EquiformerTorchSim needs torch-sim-atomistic: pip install "pyg_equiformer[torchsim]"') from error

Potential = EnergyForces | Ensemble


class EquiformerTorchSim(ModelInterface):
    r"""Energies, forces and stress of many systems at once, as TorchSim asks its models for them (arXiv 2508.06628).

    .. math:: E_b, \quad F_i = -\frac{\partial E}{\partial x_i}, \quad
        \sigma_b = \frac{1}{V_b} \frac{\partial E_b}{\partial \epsilon_b}

    Neighbours are searched anew at every call, exactly, in cells of any shape, periodic in three, two, one or no
    directions (TorchSim has one choice for all systems of a state).

    Args:
        model: an `EnergyForces`, an `Ensemble` of them, or where one is: the folder of a run, its `model.pt`, or a
            folder that `hub.save_pretrained` wrote. A copy is used, and the model itself is left as it is.
        device, dtype: where and in which precision it computes, which the states must have too. None: as the model is.
        compute_stress: whether to return the stress. It needs cells, and is NaN for systems whose cell has no volume.
        elements: atomic numbers that the model was trained on; others are refused. None: those that the file or folder
            of a trained model tells, else all that the network has weights for.

    Shapes:
        a `torch_sim.SimState` of N atoms in B systems → {"energy": [B] in eV, "forces": [N, 3] in eV/Å, "stress":
        [B, 3, 3] in eV/Å³, positive under tension}; with an `Ensemble` also the spreads, as "energy_std". Where the
        model adds reference energies, the energy is float64 in every precision, see `EnergyForces`.

    Raises:
        ImportError: without torch-sim-atomistic, naming the extra.
        FileNotFoundError: if there is no such file.
        ValueError: for a model without energies and forces, or a state of another device or precision, or with
            elements that the model does not know.

    Example:
        >>> from ase.build import bulk
        >>> import torch_sim as ts
        >>> from pyg_equiformer import Equiformer
        >>> potential = EnergyForces(Equiformer.from_preset("small", num_layers=1).double())
        >>> model = EquiformerTorchSim(potential)
        >>> systems = [bulk("Si"), bulk("NaCl", "rocksalt", a=5.64)]
        >>> state = ts.io.atoms_to_state(systems, model.device, model.dtype)
        >>> out = model(state)
        >>> out["energy"].shape, out["forces"].shape, out["stress"].shape
        (torch.Size([2]), torch.Size([4, 3]), torch.Size([2, 3, 3]))
    """

    def __init__(
        self,
        model: Potential | str | Path,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        compute_stress: bool = True,
        elements: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        trained: Any = model
        if isinstance(model, (str, Path)):
            file = find_model(model)
            trained = load_model(file)
            elements = read_extra(file).get("elements") if elements is None else elements
        members = potentials_of(trained)
        weights = next(p for p in trained.parameters() if p.is_floating_point())
        self._device = weights.device if device is None else torch.device(device)
        self._dtype = weights.dtype if dtype is None else dtype
        self.potential = copy.deepcopy(trained).to(device=self._device, dtype=self._dtype).eval()
        self._compute_forces = True  # they come with the energy
        self.compute_stress = compute_stress
        self.cutoff: float = members[0].config.cutoff
        self.elements = None if elements is None else tuple(sorted(int(z) for z in elements))

    @property
    def compute_stress(self) -> bool:
        """Whether the stress is returned."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, compute_stress: bool) -> None:
        self._compute_stress = bool(compute_stress)
        for member in potentials_of(self.potential):
            member.stress = self._compute_stress

    @torch.no_grad()
    def forward(self, state: SimState | dict[str, Any]) -> dict[str, Tensor]:
        """Return energies, forces and stresses of a state, see the class."""
        if isinstance(state, dict):
            state = SimState(**{"masses": torch.ones_like(state["positions"][:, 0]), **state})
        pos = state.positions
        if pos.dtype != self._dtype or pos.device.type != self._device.type:
            raise ValueError(
                f"expected a state of {self._dtype} on {self._device}, as the model is, got {pos.dtype} on {pos.device}"
            )
        z, batch, cell = state.atomic_numbers.long(), state.system_idx.long(), state.row_vector_cell
        self._check_elements(z)
        pbc = torch.as_tensor(state.pbc, device=pos.device).expand(cell.shape[0], 3)
        out: dict[str, Tensor] = self.potential(z, pos, batch, cell=cell, pbc=pbc)
        return out

    def _check_elements(self, z: Tensor) -> None:
        if self.elements is None:
            return
        if unseen := sorted(set(z.unique().tolist()) - set(self.elements)):
            raise ValueError(f"the model was trained on the elements Z = {list(self.elements)}, got {unseen}")

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff} Å, dtype={self._dtype}, compute_stress={self._compute_stress}"
