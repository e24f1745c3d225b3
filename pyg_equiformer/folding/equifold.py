"""`EquiFold`: from the sequence of a protein to all its heavy atoms."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from ..models import Equiformer
from ..models.pretrained import Pretrained
from ..nn import Linear
from ..o3 import Blocks
from .coarse_grain import group_atoms, residue_positions
from .confidence import BINS, confidence_of
from .config import EquiFoldConfig, fold_config
from .frame_features import FrameFeatures
from .frame_update import FrameUpdate
from .frames import Frames, random_frames
from .graph import fold_edges
from .groups import GROUPS, MAX_ATOMS
from .overview import Overview
from .templates import Templates

#: First values of the features that turn with a group's own frame: random frames are mostly noise in the beginning.
OWN_STD = 0.3


@dataclass(frozen=True)
class Folded:
    """What `EquiFold` makes of a batch of proteins.

    Args:
        trajectory: frames of the G groups after each block; gradients do not pass from one to the one before.
        atoms: of the groups after the last block [G, MAX_ATOMS, 3] in Å.
        pos: heavy atoms of the L residues [L, MAX_RESIDUE_ATOMS, 3] in Å: those that groups share are their mean.
        there: which atoms each residue has [L, MAX_RESIDUE_ATOMS].
        confidence_logits: of the bins of lDDT of each residue [L, BINS].
        residue: of each group, counted through the batch [G].
    """

    trajectory: list[Frames]
    atoms: Tensor
    pos: Tensor
    there: Tensor
    confidence_logits: Tensor
    residue: Tensor

    @property
    def frames(self) -> Frames:
        """Frames after the last block."""
        return self.trajectory[-1]

    def cpu(self) -> "Folded":
        """Return the same in the memory of the processor, without gradients."""
        frames = [Frames(f.rotation.detach().cpu(), f.origin.detach().cpu()) for f in self.trajectory]
        rest = (self.atoms, self.pos, self.there, self.confidence_logits, self.residue)
        return Folded(frames, *(x.detach().cpu() for x in rest))

    @property
    def confidence(self) -> Tensor:
        """Expected lDDT of the Cα of each residue [L], 0 to 100."""
        return confidence_of(self.confidence_logits)


class EquiFold(Pretrained, nn.Module):
    r"""Fold proteins with equivariant attention between rigid groups of atoms (bioRxiv 2022.10.07.511322).

    .. math:: h, (R, T) \leftarrow \mathrm{Block}_b\big(t, (R, T), h\big), \qquad x_{ga} = R_g\, s_{ta} + T_g

    Each block embeds the kinds t of the groups, turns learned features with their frames (R, T), attends to groups that
    are near in space or along the chain, and moves the frames (`FrameUpdate`). Frames are detached between blocks,
    features h are handed on. Atoms x are the templates s at the frames, their mean where groups share them.

    Args:
        config: sizes.
        templates: shapes of the groups, see `fit_templates`; they are saved with the model.
        avg_degree: mean number of neighbours, which sums over them are scaled by. None: a guess from the settings.

    Shapes:
        a `Data` or `Batch` of `sequence_data` or `structure_data` → `Folded`; of structures the true places are not
        looked at.

    Raises:
        ValueError: for data of another kind, or start frames that do not fit.

    Example:
        >>> from pyg_equiformer.folding import Templates, sequence_data
        >>> from pyg_equiformer.folding.groups import GROUPS, MAX_ATOMS
        >>> templates = Templates(torch.randn(len(GROUPS), MAX_ATOMS, 3), torch.ones(len(GROUPS)))
        >>> model = EquiFold.from_preset("small", templates)
        >>> folded = model(sequence_data("MKTAY"))
        >>> folded.frames.origin.shape, folded.pos.shape, folded.confidence.shape
        (torch.Size([15, 3]), torch.Size([5, 14, 3]), torch.Size([5]))
    """

    def __init__(self, config: EquiFoldConfig, templates: Templates, avg_degree: float | None = None) -> None:
        super().__init__()
        if templates.positions.shape != (len(GROUPS), MAX_ATOMS, 3):
            raise ValueError(
                f"expected templates [{len(GROUPS)}, {MAX_ATOMS}, 3], got {list(templates.positions.shape)}"
            )
        self.config, self.avg_degree = config, avg_degree
        dtype = torch.get_default_dtype()
        self.shapes: Tensor
        self.register_buffer("shapes", templates.positions.to(dtype))
        self.seen: Tensor
        self.register_buffer("seen", templates.seen.clone())
        self.blocks = nn.ModuleList(FoldBlock(config, avg_degree) for _ in range(config.blocks))
        scalars = config.scalars
        self.confidence_head = nn.Sequential(
            nn.LayerNorm(scalars), nn.Linear(scalars, scalars), nn.SiLU(), nn.Linear(scalars, BINS)
        )

    @classmethod
    def from_preset(cls, name: str, templates: Templates, **overrides: Any) -> "EquiFold":
        """Return a new model with the sizes of a preset ("equifold", "antibody" or "small"), some of them changed."""
        return cls(fold_config(name, **overrides), templates)

    @property
    def templates(self) -> Templates:
        """Shapes of the groups."""
        return Templates(self.shapes, self.seen)

    def start(self, count: int, generator: torch.Generator | None = None) -> Frames:
        """Return frames to start from, see `EquiFoldConfig.start`."""
        if self.config.start == "black_hole":
            one = Frames(torch.eye(3).repeat(count, 1, 1), torch.zeros(count, 3))
        else:
            one = random_frames(count, self.config.spread, generator)
        return Frames(one.rotation.to(self.shapes), one.origin.to(self.shapes))

    def forward(
        self,
        data: Data,
        start: Frames | None = None,
        *,
        recycles: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Folded:
        """Return the structure of each protein, see the class.

        Args:
            data: of one protein or a batch.
            start: frames to begin with. None: those that `config.start` tells.
            recycles: how often all blocks are gone through before the pass that counts. None: `config.recycles`.
            generator: of random start frames.
        """
        inputs = _inputs(data)
        frames = self.start(len(inputs["types"]), generator) if start is None else start
        if frames.origin.shape != (len(inputs["types"]), 3):
            raise ValueError(f"expected {len(inputs['types'])} start frames, got shape {list(frames.origin.shape)}")
        features: Blocks | None = None
        for _ in range(self.config.recycles if recycles is None else recycles):
            with torch.no_grad():
                *_, frames, features = self._pass(inputs, frames, features)
        trajectory, frames, features = self._pass(inputs, frames, features)
        atoms = group_atoms(frames, inputs["types"], self.templates)
        pos, there = residue_positions(atoms, inputs["types"], inputs["residue"], inputs["num_residues"])
        logits = self.confidence_head(features[0].squeeze(1)[inputs["backbone"]])
        return Folded(trajectory, atoms, pos, there, logits, inputs["residue"])

    def _pass(
        self, inputs: dict[str, Any], frames: Frames, features: Blocks | None
    ) -> tuple[list[Frames], Frames, Blocks]:
        trajectory = []
        for block in self.blocks:
            frames, features = block(inputs, Frames(frames.rotation.detach(), frames.origin.detach()), features)
            trajectory.append(frames)
        assert features is not None  # there is at least one block
        return trajectory, frames, features


class FoldBlock(nn.Module):
    """One block: a network that looks at the groups, and moves their frames once.

    Args:
        config: sizes.
        avg_degree: see `EquiFoldConfig.network`.
    """

    def __init__(self, config: EquiFoldConfig, avg_degree: float | None = None) -> None:
        super().__init__()
        self.config = config
        self.network = Equiformer(config.network(avg_degree))
        self.frame_features = FrameFeatures(config.irreps, len(GROUPS), std=OWN_STD)
        self.carry = Linear(config.irreps, config.irreps, bias=False)
        self.overview = Overview(config.irreps, len(GROUPS), config.translation_scale)
        self.update = FrameUpdate(config.scalars, config.translation_scale)

    def forward(self, inputs: dict[str, Any], frames: Frames, features: Blocks | None) -> tuple[Frames, Blocks]:
        """Return the frames after the block, and the features of the groups."""
        c = self.config
        edge_index, edge_type = fold_edges(
            frames.origin, inputs["place"], inputs["chain"], inputs["batch"],
            cutoff=c.cutoff, num_neighbors=c.num_neighbors, reach=c.sequence_reach,
        )  # fmt: skip
        first = self.frame_features(inputs["types"], frames.rotation)
        if features is not None:
            first = [a + b for a, b in zip(first, self.carry.blocks(features))]
        graphs = {"batch": inputs["batch"], "num_proteins": inputs["num_proteins"]}
        first = self.overview(first, inputs["types"], frames.origin, **graphs)
        out, after = self.network(
            inputs["types"], frames.origin, inputs["batch"], edge_index=edge_index, edge_type=edge_type,
            node_embedding=first, return_features=True,
        )  # fmt: skip
        if c.lmax == 0:
            out = out.unflatten(1, (3, 3)) @ frames.rotation.transpose(1, 2)  # along the axes of each frame
        return self.update(frames, out, after.nodes[0].squeeze(1), **graphs), after.nodes


def _inputs(data: Data) -> dict[str, Any]:
    """What the blocks take, with residues counted through the batch."""
    names = ("group_type", "residue", "group_place", "group_chain", "num_residues")
    missing = [name for name in names if data.get(name) is None]
    if missing:
        raise ValueError(f"expected data of sequence_data or structure_data, got some without {', '.join(missing)}")
    batch, residue = data.get("batch"), data.residue
    lengths = torch.as_tensor(data.num_residues, device=residue.device).reshape(-1)
    if batch is None:
        batch = torch.zeros_like(residue)
    residue = residue + (lengths.cumsum(0) - lengths)[batch]
    new = torch.ones_like(residue, dtype=torch.bool)
    new[1:] = residue[1:] != residue[:-1]
    return {
        "types": data.group_type,
        "place": data.group_place,
        "chain": data.group_chain,
        "batch": batch,
        "residue": residue,
        "num_residues": int(lengths.sum()),
        "num_proteins": len(lengths),
        "backbone": new.nonzero().squeeze(1),  # the first group of each residue
    }
