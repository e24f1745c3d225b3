"""Exported potentials in Python, with checks of what they are given."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import keys
from ..models import EquiformerConfig
from ..models.geometry import check_positions
from ..models.inputs import GraphInputs, collect_inputs
from ..models.prepare import find_neighbors
from .package import FORMAT, FORMAT_VERSION


class ExportedModel:
    r"""A file of `export_model`, called as the model that it was made of.

    Args:
        path: the file.

    Attributes:
        metadata: what the file tells of itself, texts by name.
        cutoff: in Å.
        elements: atomic numbers that may occur.
        dtype, device: of positions, shifts and cell.

    Shapes:
        z [N], pos [N, 3] in Å, batch [N], or a PyG `Data` / `Batch`; edge_index [2, E] and edge_shift [E, 3] in Å
        (None: those that `RadiusGraph` stored, else all pairs nearer than the cutoff, through images too); cell
        [B, 3, 3] in Å and pbc [B, 3]
        → {"energy": [B] in eV, float64, "forces": [N, 3] in eV/Å, and with a cell "stress": [B, 3, 3] in eV/Å³};
        for committees also their spreads, `<name>_std`. Nothing of it has a gradient.

    Raises:
        ValueError: if the file is none of `export_model`; for elements that it is not for, another dtype or device,
            periodic data without its cell, or inputs of wrong shapes.
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no file {self.path}, expected one of export_model")
        try:
            self._run: Any = torch._inductor.aoti_load_package(str(self.path))
            self.metadata: dict[str, str] = dict(self._run.get_metadata())
        except RuntimeError as error:
            raise ValueError(f"{self.path} is not an AOTInductor package: {str(error).splitlines()[0]}") from error
        if self.metadata.get("format") != FORMAT or self.metadata["format_version"] != FORMAT_VERSION:
            told = {name: self.metadata.get(name) for name in ("format", "format_version")}
            raise ValueError(f"{self.path}: expected {FORMAT!r} of version {FORMAT_VERSION}, got {told}")
        self.cutoff = float(self.metadata["cutoff"])
        self.elements = tuple(map(int, self.metadata["elements"].split()))
        self.dtype: torch.dtype = getattr(torch, self.metadata["dtype"])
        self.device = torch.device(self.metadata["device"])
        self._known = torch.tensor(self.elements, device=self.device)
        # What is asked of inputs is what is asked of those of the model.
        self._config = EquiformerConfig(cutoff=self.cutoff, elements=self.elements)

    def __call__(
        self,
        z: Any,
        pos: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        edge_index: Tensor | None = None,
        edge_shift: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
    ) -> dict[str, Tensor]:
        given = collect_inputs(z, pos, batch, edge_index, None, edge_shift, self._config, cell, pbc=pbc)
        self._check(given)
        given = find_neighbors(given, self.cutoff)
        near, shift = given.edge_index, given.edge_shift
        assert near is not None  # found above
        if shift is None:
            shift = given.pos.new_zeros(near.shape[1], 3)
        cells = given.pos.new_zeros(given.num_graphs, 3, 3) if given.cell is None else given.cell
        tensors = (given.z, given.pos, near.long(), shift, cells.to(given.pos), given.batch)
        outputs = self._run(*(t.detach().contiguous() for t in tensors))
        named = dict(zip(self.metadata["outputs"].split(), outputs))
        return {k: v for k, v in named.items() if given.cell is not None or not k.startswith(keys.STRESS)}

    def _check(self, given: GraphInputs) -> None:
        check_positions(given.pos)
        if given.pos.dtype != self.dtype:
            raise ValueError(f"{self.path} was exported for {self.dtype}, got pos in {given.pos.dtype}; convert it")
        if given.pos.device.type != self.device.type:
            raise ValueError(f"{self.path} was exported for {self.device.type}, got pos on {given.pos.device}")
        wrong = sorted(set(given.z[~torch.isin(given.z, self._known)].tolist()))
        if wrong:
            raise ValueError(f"{self.path} is for the elements Z = {list(self.elements)}, got {wrong}")
        if given.cell is None and given.edge_shift is not None and bool(given.edge_shift.any()):
            raise ValueError("edge_shift is that of periodic images, but the cell is missing: give cell [B, 3, 3] in Å")
        if given.cell is not None and given.cell.shape != (given.num_graphs, 3, 3):
            raise ValueError(f"cell must have shape {[given.num_graphs, 3, 3]}, got {list(given.cell.shape)}")
        if given.batch.numel() and not 0 <= int(given.batch.min()) <= int(given.batch.max()) < given.num_graphs:
            raise ValueError(f"batch must lie in [0, {given.num_graphs}), got {given.batch.unique().tolist()}")

    def __repr__(self) -> str:
        facts = f"cutoff={self.cutoff} Å, elements={list(self.elements)}, {self.dtype}, {self.device.type}"
        return f"{type(self).__name__}({str(self.path)!r}, {facts}, members={self.metadata['members']})"


def load_exported(path: str | Path) -> ExportedModel:
    """Return the potential in a file of `export_model`, to be called as the model that it was made of.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of `export_model`.
    """
    return ExportedModel(path)
