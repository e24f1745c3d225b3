"""`EquiformerCalculator`: a trained model as a calculator of the Atomic Simulation Environment (ASE)."""

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .. import keys
from ..models.inputs import GraphInputs
from ..neighbors import SkinNeighbors
from .potentials import Source, load_potential, prepare
from .structure_checks import check_cell, check_distances, check_elements

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator, all_changes
else:
    try:
        from ase.calculators.calculator import Calculator, all_changes
    except ImportError:  # the name can be imported all the same; using it says what is missing
        Calculator, all_changes = object, []

#: Results that ASE has no name for: they are in `results`, and not given by `get_property`.
SPREADS = ("energy_std", "forces_std", "energies_std", "stress_std")


class EquiformerCalculator(Calculator):
    r"""Energies, forces and stress of a trained model for ASE: relaxation, dynamics, phonons, reaction paths.

    .. math:: E = \sum_i \epsilon_i, \qquad F_i = -\frac{\partial E}{\partial x_i},
        \qquad \sigma = \frac{1}{V} \frac{\partial E}{\partial \epsilon}

    Whatever is asked for, all of it is computed in one pass. A committee gives means; how far its members are apart,
    the standard deviation over them, is in `results["energy_std"]` (eV) and `results["forces_std"]` [N, 3] (eV/Å),
    `results["energies_std"]` and `results["stress_std"]` likewise.

    Args:
        model: folder of a run (a committee's too), its `model.pt`, any file of `save_model` with a potential, an
            `EnergyForces`, an `Ensemble` of these, or a list of these, whose members make one committee. Modules are
            copied: later changes of their weights do not show.
        dtype: "float32" or "float64", which dynamics over long times, phonons and tight relaxations want; None: that
            of the model.
        device: as for PyTorch; None: where the model is.
        skin: of the neighbour lists in Å, see `SkinNeighbors`; it never changes a result.
        min_distance: nearest that two atoms may be in Å; nearer ones are an error. 0: no check.
        elements: atomic numbers that may be computed. None: those that the model was trained on, as its file or its
            reference energies tell; where neither does, those that the network has weights for, with a warning.
        compile: run the model through `torch.compile`: the first call takes minutes, the others less time.

    Attributes:
        results: energy and free_energy in eV, energies [N] in eV (with shares of reference energies and shift, so
            that they sum to the energy), forces [N, 3] in eV/Å; for structures with a cell that repeats in all three
            directions also stress [6] in eV/Å³, in Voigt's order xx, yy, zz, yz, xz, xy and ASE's sign (positive
            under tension).
        neighbors: the lists, with the numbers of calls and of searches.

    Raises:
        ImportError: if ASE is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: for models that give no forces, need more than atoms and a cell, or do not fit each other; when
            computing, for elements that the model was not trained on, positions that are not finite, atoms nearer
            than `min_distance`, a missing cell, or a cutoff that is too large for the density.

    Example:
        >>> from ase.build import molecule
        >>> from pyg_equiformer import EnergyForces, Equiformer, EquiformerCalculator
        >>> water = molecule("H2O")
        >>> potential = EnergyForces(Equiformer.from_preset("small"))
        >>> water.calc = EquiformerCalculator(potential, elements=(1, 8), dtype="float64")
        >>> water.get_forces().shape, water.get_potential_energies().shape
        ((3, 3), (3,))
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012  (as in ASE)

    def __init__(
        self,
        model: Source | Sequence[Source],
        *,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        skin: float = 0.5,
        min_distance: float = 0.3,
        elements: Iterable[int] | None = None,
        compile: bool = False,
    ) -> None:
        if Calculator is object:
            raise ImportError('the calculator needs ASE: pip install "pyg_equiformer[train]"')
        super().__init__()
        if not (np.isfinite(min_distance) and min_distance >= 0):
            raise ValueError(f"min_distance: expected a distance in Å, at least 0, got {min_distance!r}")
        potential = prepare(load_potential(model), dtype, device, compile)
        self.model: Any = potential.model
        self.elements = potential.elements if elements is None else tuple(int(z) for z in elements)
        if elements is None and not potential.told:
            warnings.warn(
                "the model does not tell which elements it was trained on: elements that its network has weights for "
                "are not refused, trained or not; give elements= to say which they are",
                stacklevel=2,
            )
        self.min_distance = float(min_distance)
        self.neighbors = SkinNeighbors(self.model.config.cutoff, skin)

    @property
    def cutoff(self) -> float:
        """The model's cutoff in Å."""
        return float(self.model.config.cutoff)

    @property
    def committee(self) -> bool:
        """Whether there are several members, and so `energy_std` and `forces_std`."""
        return hasattr(self.model, "models")

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute everything for a structure; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))
        structure: Any = self.atoms  # a copy, made by ASE
        check_elements(set(structure.numbers.tolist()), self.elements)
        check_cell(structure, self.cutoff + self.neighbors.skin)
        with torch.no_grad():
            out = self.model(self._inputs(structure), stress=bool(structure.pbc.all()), per_atom=True)
        self.results = self._results({name: value.detach().double().cpu().numpy() for name, value in out.items()})

    def _inputs(self, atoms: Any) -> GraphInputs:
        """The structure as the model takes it, with its neighbours."""
        weights = next(p for p in self.model.parameters() if p.is_floating_point())

        def tensor(values: Any) -> Tensor:
            return torch.tensor(np.asarray(values), dtype=weights.dtype, device=weights.device)

        pos, cell, pbc = tensor(atoms.positions), None, None
        if atoms.pbc.any():
            cell, pbc = tensor(atoms.cell), torch.tensor(atoms.pbc)
        edge_index, shift = self.neighbors(pos, cell, pbc)
        check_distances(pos, edge_index, shift, self.min_distance)
        z = torch.tensor(atoms.numbers, dtype=torch.long, device=weights.device)
        cells = None if cell is None else cell.unsqueeze(0)
        return GraphInputs(z, pos, torch.zeros_like(z), 1, edge_index, None, shift, cells)

    def _results(self, out: dict[str, np.ndarray]) -> dict[str, Any]:
        from ase.stress import full_3x3_to_voigt_6_stress

        results: dict[str, Any] = {}
        for name, value in out.items():
            if name.startswith(keys.STRESS):
                results[name] = full_3x3_to_voigt_6_stress(value[0])
            else:
                results[name] = float(value[0]) if name in (keys.ENERGY, f"{keys.ENERGY}_std") else value
        results["free_energy"] = results[keys.ENERGY]
        return results

    def export_properties(self) -> Any:
        """Return the results that ASE has names for."""
        from ase.outputs import Properties

        return Properties({name: value for name, value in self.results.items() if name not in SPREADS})
