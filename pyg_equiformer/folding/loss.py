"""What `EquiFold` is trained with: frame-aligned errors after each block, violations, confidence."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from .coarse_grain import group_atoms
from .confidence import confidence_loss, residue_lddt
from .equifold import Folded
from .frame_error import fape, rename_symmetric
from .frames import Frames
from .templates import Templates
from .violations import structural_violations

CA = 1  #: place of the Cα among the atoms of a residue
LOCAL = 6  #: residues along a chain up to which pairs of groups are near
PARTS = ("fape", "fape_last", "violations", "confidence", "lddt")


@dataclass(frozen=True)
class FoldLoss:
    r"""The loss of a batch of proteins.

    .. math:: L = \frac 1B \sum_b \frac{\mathrm{FAPE}_b + w_l\, \mathrm{FAPE}_b^{\mathrm{local}}}{1 + w_l}
        + w_v\, V + w_c\, C

    with the mean over the blocks b, the frame-aligned error of pairs of groups at most 6 residues apart in one chain,
    the violations V of the last block (`Violations.loss`) and the cross-entropy C of the lDDT of each residue. Alike
    atoms have the names that suit the prediction (`rename_symmetric`).

    Args:
        clamp: of FAPE in Å; None: none.
        scale: of FAPE in Å.
        violation_weight: w_v.
        confidence_weight: w_c.
        local_weight: w_l.

    Raises:
        ValueError: if a number is out of range.
    """

    clamp: float | None = 10.0
    scale: float = 10.0
    violation_weight: float = 0.5
    confidence_weight: float = 0.01
    local_weight: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("clamp", self.clamp), ("scale", self.scale)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("violation_weight", "confidence_weight", "local_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def __call__(self, folded: Folded, data: Data, templates: Templates, ramp: float = 1.0) -> dict[str, Tensor]:
        """Return the `loss` and its parts, each the mean over the proteins of the batch.

        `fape` is the mean over the blocks, `fape_last` that of the last one, both with the local part that
        `local_weight` asks for, and `lddt` that of the Cα.

        Args:
            folded: what the model made of the data.
            data: a batch of `structure_data`.
            templates: shapes of the groups.
            ramp: factor of the violations, which grows in a warm-up.
        """
        each = [self._of_one(folded, one, *where, templates, ramp) for one, where in zip(_split(data), _places(data))]
        means = {part: torch.stack([parts[part] for parts in each]).mean() for part in PARTS}
        total = means["fape"] + self.confidence_weight * means["confidence"]
        if ramp * self.violation_weight:
            total = total + ramp * self.violation_weight * means["violations"]
        return {"loss": total, **means}

    def _of_one(
        self, folded: Folded, data: Data, groups: slice, residues: slice, templates: Templates, ramp: float
    ) -> dict[str, Tensor]:
        shapes = templates.to(folded.atoms).positions[data.group_type]
        known = data.known[:, None] & data.true_mask
        true = Frames(data.rotation.to(folded.atoms), data.origin.to(folded.atoms))
        names = rename_symmetric(
            folded.atoms[groups].detach(), true, data.pos_true.to(folded.atoms), known, data.group_type, shapes
        )
        weight = self._pair_weight(data, names[2].to(shapes.dtype)) if self.local_weight else None
        errors = []
        for frames in folded.trajectory:
            frames = frames[groups]
            atoms = group_atoms(frames, data.group_type, templates)
            errors.append(fape(frames, atoms, *names, weight=weight, clamp=self.clamp, scale=self.scale))
        pos, there = folded.pos[residues], folded.there[residues]
        ca, ca_known = true_ca(data)
        lddt, rated = residue_lddt(pos[:, CA].detach(), ca.to(pos), ca_known)
        zero = pos.new_zeros(())
        wrong = zero
        if ramp * self.violation_weight:
            wrong = structural_violations(pos, there, data.sequence, data.seq_pos).loss
        return {
            "fape": torch.stack(errors).mean(),
            "fape_last": errors[-1].detach(),
            "violations": wrong,
            "confidence": confidence_loss(folded.confidence_logits[residues], lddt, rated),
            "lddt": (lddt * rated).sum() / rated.sum().clamp(min=1),
        }

    def _pair_weight(self, data: Data, mask: Tensor) -> Tensor:
        """Weight of each pair of groups [G, G], frame first: near atoms count `local_weight` times as much as all."""
        place, chain = data.group_place, data.group_chain
        near = ((place[:, None] - place).abs() <= LOCAL) & (chain[:, None] == chain)
        atoms = mask.sum(1)
        frames = (atoms > 0).to(atoms.dtype)
        share = frames @ near.to(atoms.dtype) @ atoms / (frames.sum() * atoms.sum()).clamp(min=1)
        return 1 + self.local_weight * near / share.clamp(min=torch.finfo(share.dtype).tiny)


def true_ca(data: Data) -> tuple[Tensor, Tensor]:
    """Return the places of the Cα of a protein of `structure_data` [L, 3] in Å, and which are known [L]."""
    first = torch.ones_like(data.residue, dtype=torch.bool)
    first[1:] = data.residue[1:] != data.residue[:-1]
    # The second atom of the first group of each residue: C, CA, …
    return data.pos_true[first, 1], data.true_mask[first, 1]


def _split(data: Data) -> list[Data]:
    return data.to_data_list() if hasattr(data, "to_data_list") else [data]


def _places(data: Data) -> list[tuple[slice, slice]]:
    """Rows of groups and of residues of each protein of a batch."""
    lengths = torch.as_tensor(data.num_residues).reshape(-1).tolist()
    ends = data.ptr.tolist() if "ptr" in data else [0, len(data.group_type)]
    places, done = [], 0
    for k, length in enumerate(lengths):
        places.append((slice(ends[k], ends[k + 1]), slice(done, done + length)))
        done += length
    return places
